use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use futures::{FutureExt, future::BoxFuture};
use parta_status::RpcError;
use tonic::Status;

use crate::{
    TRACE_ID,
    context::TraceId,
    step::{Next, RpcRequest, RpcResult, Step},
};

/// Set by the `trace` layer below, so that the response to a panic contains the trace id.
#[derive(Clone, Default)]
pub(crate) struct TraceSlot(pub(super) Arc<OnceLock<TraceId>>);

impl TraceSlot {
    /// Returns the status for a panic.
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

#[derive(Default)]
pub(super) struct CatchPanic {}

impl Step for CatchPanic {
    fn name(&self) -> &'static str {
        "catch_panic"
    }

    fn call<'a>(&'a self, mut call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            let slot = TraceSlot::default();
            call.request.extensions_mut().insert(slot.clone());
            match AssertUnwindSafe(next.run(call)).catch_unwind().await {
                Ok(outcome) => outcome.map(|mut answer| {
                    answer.guard.catches = Some(slot);
                    answer
                }),
                Err(panic) => Err(slot.refuse(panic.as_ref())),
            }
        })
    }
}
