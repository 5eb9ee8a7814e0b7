use futures::future::BoxFuture;

use crate::{
    TRACE_ID,
    context::CallContext,
    step::{Next, RpcRequest, RpcResult, Step},
};

pub(super) struct ReturnTraceId;

impl Step for ReturnTraceId {
    fn name(&self) -> &'static str {
        "trace_id"
    }

    fn call<'a>(&'a self, call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            let mut answer = next.run(call).await?;
            if let Some(trace) = CallContext::current().trace
                && let Ok(value) = http::HeaderValue::from_str(&trace.to_string())
            {
                answer.response.headers_mut().insert(TRACE_ID, value);
            }
            Ok(answer)
        })
    }
}
