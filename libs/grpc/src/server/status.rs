use std::task::{Context, Poll};

use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use tonic::{Code, Status};
use tower::Service;

use crate::{
    layer::{Layered, OnResponse, ResponseFuture, RpcService, layer},
    rpc::{RpcRequest, RpcResponse, RpcResult},
    server::deadline::exceeded,
    status_headers::received_status,
};

/// Gives every refusal exactly one documented reason, including those of tonic. UNIMPLEMENTED is not changed:
/// the RPC does not exist, so no documented reason can.
#[derive(Clone)]
pub(super) struct Details;

layer!(Details, "status");

impl<S: RpcService> Service<RpcRequest> for Layered<Details, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = ResponseFuture<S::Future, Explain>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        let open = request.is_open();
        ResponseFuture::new(self.inner.call(request), Explain { open })
    }
}

pub(crate) struct Explain {
    open: bool,
}

impl OnResponse<RpcResult> for Explain {
    fn on_response(self, result: RpcResult) -> RpcResult {
        let mut response = match result {
            Ok(response) => response,
            Err(status) => return Ok(explain(status).into_http().into()),
        };
        if !self.open
            && let Some(status) = received_status(response.http.headers())
            && status.code() != Code::Ok
            && status.details().is_empty()
        {
            response.http = explain(status).into_http();
        }
        Ok(response)
    }
}

fn explain(status: Status) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let message = status.message();
    match status.code() {
        Code::Ok | Code::Unimplemented => status,
        Code::Internal if message.starts_with("failed to decode Protobuf message") => {
            malformed("not a valid message")
        }
        Code::Internal if message.starts_with("Missing request message") => malformed("missing"),
        Code::OutOfRange if message.contains("decoded message length too large") => {
            malformed("larger than 4 MiB")
        }
        Code::DeadlineExceeded => exceeded(),
        // The caller disconnected in the middle of its request and does not read this response.
        Code::Cancelled => status,
        // Its process was killed, so that the connection ended without a word about the stream.
        _ if message.starts_with("h2 protocol error") => cancelled(),
        _ => RpcError::internal(format!("undocumented refusal: {:?}: {message}", status.code())).into(),
    }
}

/// Returns the code with which metrics and logs count an act of the caller.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody reads this status, so that it needs no reason"
)]
fn cancelled() -> Status {
    Status::cancelled("the connection ended within the request")
}

fn malformed(why: &str) -> Status {
    let message = format!("the request is {why}");
    RpcError::new(ErrorReason::FieldInvalid, message.as_str())
        .field("", message.as_str())
        .into()
}
