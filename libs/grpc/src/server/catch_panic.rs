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
    pub(crate) fn refuse(&self, panic: &(dyn Any + Send)) -> Status {
        let said = panic.downcast_ref::<&str>().copied();
        let said = said
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a panic without words");
        let mut status = Status::from(RpcError::internal(format!("panic while serving: {said}")));
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
            Err(panic) => Either::Left(refused(slot.refuse(panic.as_ref()))),
        }
    }
}

impl OnResponse<Result<RpcResult, Box<dyn Any + Send>>> for TraceSlot {
    fn on_response(self, caught: Result<RpcResult, Box<dyn Any + Send>>) -> RpcResult {
        let mut response = caught.unwrap_or_else(|panic| Err(self.refuse(panic.as_ref())))?;
        response.guard.catches = Some(self);
        Ok(response)
    }
}
