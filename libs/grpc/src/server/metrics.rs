use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tonic::Status;
use tower::Service;

use super::in_flight::{InFlight, Instruments};
use crate::{
    layer::{Layered, OnResponse, ResponseFuture, RpcService, layer},
    rpc::{RpcRequest, RpcResponse, RpcResult},
};

/// Measures the duration by RPC and code, and counts the calls in flight.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Instruments>);

impl Metrics {
    pub(crate) fn server() -> Self {
        Self(Arc::new(Instruments::new("rpc.server")))
    }

    pub(crate) fn client() -> Self {
        Self(Arc::new(Instruments::new("rpc.client")))
    }
}

layer!(Metrics, "metrics");

impl<S: RpcService> Service<RpcRequest> for Layered<Metrics, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = ResponseFuture<S::Future, Option<InFlight>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        // Health checks are not counted.
        let in_flight = (!request.is_open()).then(|| self.layer.0.begin(request.rpc()));
        ResponseFuture::new(self.inner.call(request), in_flight)
    }
}

impl OnResponse<RpcResult> for Option<InFlight> {
    fn on_response(self, result: RpcResult) -> RpcResult {
        match result {
            Ok(mut response) => {
                response.guard.in_flight = self;
                Ok(response)
            }
            Err(status) => {
                if let Some(in_flight) = self {
                    in_flight.end(status.code());
                }
                Err(status)
            }
        }
    }
}
