use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use futures::{
    FutureExt as _,
    future::{CatchUnwind, Either},
};
use tonic::Status;
use tower::Service;

use crate::{
    layer::{Layered, OnResponse, Refused, ResponseFuture, RpcService, layer, refused},
    rpc::{RpcRequest, RpcResponse, RpcResult},
    server::trace_slot::TraceSlot,
};

#[derive(Clone)]
pub(super) struct CatchPanic;

layer!(CatchPanic, "catch_panic");

type Caught<F> = CatchUnwind<AssertUnwindSafe<F>>;

impl<S: RpcService> Service<RpcRequest> for Layered<CatchPanic, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = Either<Refused, ResponseFuture<Caught<S::Future>, TraceSlot>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: RpcRequest) -> Self::Future {
        let slot = TraceSlot::default();
        request.http.extensions_mut().insert(slot.clone());
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
            Ok(response) => {
                let caught = AssertUnwindSafe(response).catch_unwind();
                Either::Right(ResponseFuture::new(caught, slot))
            }
            Err(_panic) => Either::Left(refused(slot.refuse())),
        }
    }
}

impl OnResponse<Result<RpcResult, Box<dyn Any + Send>>> for TraceSlot {
    fn on_response(self, caught: Result<RpcResult, Box<dyn Any + Send>>) -> RpcResult {
        let mut response = caught.unwrap_or_else(|_panic| Err(self.refuse()))?;
        response.guard.catches = Some(self);
        Ok(response)
    }
}
