use std::task::{Context, Poll};

use futures::future::Either;
use parta_proto::CaptureRequest as Capturing;
use tonic::Status;
use tower::Service;

use crate::{
    layer::{Layered, RpcService, layer},
    rpc::{RpcRequest, RpcResponse},
};

/// Captures the bytes of the request message of RPCs that change state. The edge computes their digest.
#[derive(Clone)]
pub(super) struct CaptureRequest;

layer!(CaptureRequest, "capture_request");

impl<S: RpcService> Service<RpcRequest> for Layered<CaptureRequest, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = Either<Capturing<S::Future>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        let mutation = request.method.is_some_and(|method| method.mutation);
        let response = self.inner.call(request);
        if mutation {
            Either::Left(parta_proto::capture_request(response))
        } else {
            Either::Right(response)
        }
    }
}
