use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use futures::{FutureExt, future::BoxFuture};
use parta_status::Refusal;
use tonic::{Status, body::Body};

use crate::{
    TRACE_ID, body,
    context::TraceId,
    step::{Next, Outcome, Request, Step},
};

/// Filled by the `trace` layer below, so that the answer to a panic can name the trace too.
#[derive(Clone, Default)]
pub(super) struct TraceSlot(pub(super) Arc<OnceLock<TraceId>>);

#[derive(Default)]
pub(super) struct CatchPanic {}

impl Step for CatchPanic {
    fn name(&self) -> &'static str {
        "catch_panic"
    }

    fn call<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let slot = TraceSlot::default();
            request.extensions_mut().insert(slot.clone());
            match AssertUnwindSafe(async move { next.run(request).await })
                .catch_unwind()
                .await
            {
                Ok(outcome) => outcome.map(|response| {
                    response.map(|inner| {
                        let answer = move |panic: Box<dyn Any + Send>| refuse(panic.as_ref(), &slot);
                        Body::new(body::CatchPanic {
                            inner: Some(inner),
                            answer,
                        })
                    })
                }),
                Err(panic) => Err(refuse(panic.as_ref(), &slot)),
            }
        })
    }
}

fn refuse(panic: &(dyn Any + Send), slot: &TraceSlot) -> Status {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words");
    let mut status = Status::from(Refusal::internal(format!("panic while serving: {said}")));
    if let Some(trace) = slot.0.get()
        && let Ok(value) = trace.to_string().parse()
    {
        status.metadata_mut().insert(TRACE_ID, value);
    }
    status
}
