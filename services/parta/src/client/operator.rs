//! A client of the gRPC services for the operator. Every service of Parta declares them under its own name,
//! on the same messages.
use anyhow::Context as _;
use http::uri::PathAndQuery;
use parta_proto::{
    Package, ProtoCodec,
    feed::v1::{
        ExplainQuarantineRequest, ExplainQuarantineResponse, GetConsumerStatusRequest,
        GetConsumerStatusResponse, ListQuarantinesRequest, ListQuarantinesResponse, RebuildProjectionRequest,
        RebuildProjectionResponse, RetryQuarantineRequest, RetryQuarantineResponse,
        SkipQuarantinedEventRequest, SkipQuarantinedEventResponse,
    },
    jobs::v1::{
        DropJobRequest, DropJobResponse, ListJobsRequest, ListJobsResponse, RetryJobRequest, RetryJobResponse,
    },
};
use prost::Message;
use tonic::{Request, client::Grpc};

use super::{Bound, Session};
use crate::output::Failure;

/// Calls the services for the operator of one service of Parta.
pub(crate) struct OperatorClient {
    channel: Bound,
    service: &'static str,
    package: &'static Package,
}

macro_rules! rpcs {
    ($($method:ident: $rpc:literal, $request:ident => $response:ident;)*) => {
        $(
            pub(crate) async fn $method(&self, request: $request) -> Result<$response, Failure> {
                self.call($rpc, request).await
            }
        )*
    };
}

impl OperatorClient {
    /// Returns a client of the service with this name.
    pub(crate) fn new(session: &Session, name: &str) -> Result<Self, Failure> {
        let service = crate::SERVICES.iter().find(|service| service.name == name);
        let service = service.with_context(|| format!("there is no service {name}"))?;
        Ok(Self {
            channel: session.bound(service.name),
            service: service.name,
            package: service.package,
        })
    }

    /// Calls an RPC, which the ending of its name identifies.
    async fn call<Q, R>(&self, rpc: &str, request: Q) -> Result<R, Failure>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let mut paths = self.package.methods.iter().map(|method| method.path);
        let path = paths.find(|path| path.ends_with(rpc));
        let path = path.with_context(|| format!("{} has no {rpc}", self.service))?;
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await?;
        let response = grpc.unary(
            Request::new(request),
            PathAndQuery::from_static(path),
            ProtoCodec::default(),
        );
        Ok(response.await?.into_inner())
    }

    rpcs! {
        list_jobs: "JobService/ListJobs", ListJobsRequest => ListJobsResponse;
        retry_job: "JobService/RetryJob", RetryJobRequest => RetryJobResponse;
        drop_job: "JobService/DropJob", DropJobRequest => DropJobResponse;
        consumer_status: "QuarantineService/GetConsumerStatus",
            GetConsumerStatusRequest => GetConsumerStatusResponse;
        list_quarantines: "QuarantineService/ListQuarantines",
            ListQuarantinesRequest => ListQuarantinesResponse;
        explain_quarantine: "QuarantineService/ExplainQuarantine",
            ExplainQuarantineRequest => ExplainQuarantineResponse;
        retry_quarantine: "QuarantineService/RetryQuarantine",
            RetryQuarantineRequest => RetryQuarantineResponse;
        skip_quarantined_event: "QuarantineService/SkipQuarantinedEvent",
            SkipQuarantinedEventRequest => SkipQuarantinedEventResponse;
        rebuild_projection: "QuarantineService/RebuildProjection",
            RebuildProjectionRequest => RebuildProjectionResponse;
    }
}
