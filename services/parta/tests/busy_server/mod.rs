//! A server whose projection lags: it refuses the first calls of ApproveApplication with
//! BEHIND_CONSISTENCY_TOKEN.
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use parta_proto::status::v1::ErrorReason;
use parta_proto_org_registry::v1::{ApproveApplicationRequest, ApproveApplicationResponse, Organization};
use parta_status::RpcError;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{
    Request, Response, Status,
    body::Body,
    transport::server::{Server, TcpIncoming},
};
use tonic_prost::ProstCodec;

/// The server runs until this is dropped.
pub struct BusyServer {
    pub url: String,
    received: Arc<Mutex<Vec<ApproveApplicationRequest>>>,
    _guard: DropGuard,
}

impl BusyServer {
    /// Starts a server that refuses this number of calls and requests a retry after `delay`.
    pub async fn start(refusals: usize, delay: Duration) -> Self {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let incoming = TcpIncoming::bind(local).unwrap();
        let url = format!("http://{}", incoming.local_addr().unwrap());
        let received = Arc::default();
        let service = Applications {
            received: Arc::clone(&received),
            refusals,
            delay,
        };
        let cancel = CancellationToken::new();
        let stopped = cancel.clone().cancelled_owned();
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stopped);
        TaskTracker::new().spawn(serving);
        Self {
            url,
            received,
            _guard: cancel.drop_guard(),
        }
    }

    /// Returns the requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<ApproveApplicationRequest> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[derive(Clone)]
struct Applications {
    received: Arc<Mutex<Vec<ApproveApplicationRequest>>>,
    refusals: usize,
    delay: Duration,
}

impl Applications {
    fn approve(&self, request: ApproveApplicationRequest) -> Result<ApproveApplicationResponse, Status> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.push(request);
        if received.len() <= self.refusals {
            let behind = RpcError::new(ErrorReason::BehindConsistencyToken, "Try again.");
            let behind = behind.meta("service", "membership").retry_after(self.delay);
            return Err(behind.into());
        }
        Ok(ApproveApplicationResponse {
            organization: Some(Organization {
                id: "org_x".to_owned(),
                display_name: "Школа № 1".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        })
    }
}

impl tonic::server::NamedService for Applications {
    const NAME: &'static str = "parta.org_registry.v1.ApplicationService";
}

impl tower::Service<http::Request<Body>> for Applications {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let approve = tower::service_fn(move |request: Request<ApproveApplicationRequest>| {
                std::future::ready(this.approve(request.into_inner()).map(Response::new))
            });
            let codec = ProstCodec::<ApproveApplicationResponse, ApproveApplicationRequest>::default();
            Ok(tonic::server::Grpc::new(codec).unary(approve, request).await)
        })
    }
}
