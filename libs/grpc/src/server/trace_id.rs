use futures::future::BoxFuture;

use crate::{
    TRACE_ID,
    context::CallContext,
    step::{Next, Outcome, Request, Step},
};

pub(super) struct ReturnTraceId;

impl Step for ReturnTraceId {
    fn name(&self) -> &'static str {
        "trace_id"
    }

    fn call<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let mut response = next.run(request).await?;
            if let Some(trace) = CallContext::current().trace
                && let Ok(value) = http::HeaderValue::from_str(&trace.to_string())
            {
                response.headers_mut().insert(TRACE_ID, value);
            }
            Ok(response)
        })
    }
}
