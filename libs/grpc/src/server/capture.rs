use futures::future::BoxFuture;

use crate::step::{Next, RpcRequest, RpcResult, Step};

/// Captures the bytes of the request message of RPCs that change state. The edge computes their digest.
pub(super) struct CaptureRequest;

impl Step for CaptureRequest {
    fn name(&self) -> &'static str {
        "capture_request"
    }

    fn call<'a>(&'a self, call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        if call.method.is_some_and(|method| method.mutation) {
            return Box::pin(parta_proto::capture_request(next.run(call)));
        }
        Box::pin(next.run(call))
    }
}
