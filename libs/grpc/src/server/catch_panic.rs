use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures::{
    FutureExt as _,
    future::{CatchUnwind, Either},
};
use parta_status::RpcError;
use tonic::Status;
use tower::Service;

use crate::{
    TRACE_ID,
    context::TraceId,
    layer::{Layered, OnResponse, Refused, ResponseFuture, RpcService, layer, refused},
    rpc::{RpcRequest, RpcResponse, RpcResult},
};

/// Set by the `trace` layer below, so that the response to a panic contains the trace id.
#[derive(Clone, Default)]
pub(crate) struct TraceSlot(pub(super) Arc<OnceLock<TraceId>>);

impl TraceSlot {
    /// The status of a call whose handler panicked. The message of the panic may quote a name, so the hook of
    /// the process logs the place only.
    pub(crate) fn refuse(&self) -> Status {
        let mut status = Status::from(RpcError::internal("panic while serving"));
        if let Some(trace) = self.0.get()
            && let Ok(value) = trace.to_string().parse()
        {
            status.metadata_mut().insert(TRACE_ID, value);
        }
        status
    }
}

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
