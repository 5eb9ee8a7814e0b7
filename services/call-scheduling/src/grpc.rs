//! `parta.call_scheduling.v1.CallService`: routes each RPC to its feature.
use std::sync::Arc;

use parta_edge::Edge;
use parta_proto_call_scheduling::v1::{self as pb, call_service_server::CallService};
use tonic::{Request, Response, Status};

use crate::{announcements::grpc::Announcements, calls::grpc::Calls, context::Context, join::grpc::Join};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Clone)]
pub(crate) struct Server {
    calls: Calls,
    join: Join,
    announcements: Announcements,
}

impl Server {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        Self {
            calls: Calls::new(edge.clone(), context.clone()),
            join: Join::new(edge.clone()),
            announcements: Announcements::new(edge, context),
        }
    }
}

#[tonic::async_trait]
impl CallService for Server {
    async fn plan_call(&self, request: Request<pb::PlanCallRequest>) -> Reply<pb::PlanCallResponse> {
        self.calls.plan(request).await
    }

    async fn get_call(&self, request: Request<pb::GetCallRequest>) -> Reply<pb::GetCallResponse> {
        self.calls.get(request).await
    }

    async fn list_occurrences(
        &self,
        request: Request<pb::ListOccurrencesRequest>,
    ) -> Reply<pb::ListOccurrencesResponse> {
        self.calls.list_occurrences(request).await
    }

    async fn cancel_call(&self, request: Request<pb::CancelCallRequest>) -> Reply<pb::CancelCallResponse> {
        self.calls.cancel(request).await
    }

    async fn cancel_occurrence(
        &self,
        request: Request<pb::CancelOccurrenceRequest>,
    ) -> Reply<pb::CancelOccurrenceResponse> {
        self.calls.cancel_occurrence(request).await
    }

    async fn announce_call(
        &self,
        request: Request<pb::AnnounceCallRequest>,
    ) -> Reply<pb::AnnounceCallResponse> {
        self.announcements.announce(request).await
    }

    async fn issue_join_token(
        &self,
        request: Request<pb::IssueJoinTokenRequest>,
    ) -> Reply<pb::IssueJoinTokenResponse> {
        self.join.issue_token(request).await
    }
}
