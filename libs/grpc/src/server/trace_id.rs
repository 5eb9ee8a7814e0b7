use std::task::{Context, Poll};

use tonic::Status;
use tower::Service;

use crate::{
    context::CallContext,
    headers::TRACE_ID,
    layer::{Layered, OnResponse, ResponseFuture, RpcService, layer},
    rpc::{RpcRequest, RpcResponse, RpcResult},
};

#[derive(Clone)]
pub(super) struct ReturnTraceId;

layer!(ReturnTraceId, "trace_id");

impl<S: RpcService> Service<RpcRequest> for Layered<ReturnTraceId, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = ResponseFuture<S::Future, ReturnTraceId>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        ResponseFuture::new(self.inner.call(request), ReturnTraceId)
    }
}

impl OnResponse<RpcResult> for ReturnTraceId {
    fn on_response(self, result: RpcResult) -> RpcResult {
        let mut response = result?;
        if let Some(trace) = CallContext::current().trace
            && let Ok(value) = http::HeaderValue::from_str(&trace.to_string())
        {
            response.http.headers_mut().insert(&TRACE_ID, value);
        }
        Ok(response)
    }
}
