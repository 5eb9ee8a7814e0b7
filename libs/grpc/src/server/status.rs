use futures::future::BoxFuture;
use parta_proto::parta::status::v1::ErrorReason;
use parta_status::RpcError;
use tonic::{Code, Status};

use crate::step::{Next, RpcRequest, RpcResult, Step};

/// Gives every refusal exactly one documented reason, including those of tonic. UNIMPLEMENTED is not changed:
/// the RPC does not exist, so no documented reason can.
pub(super) struct Details;

impl Step for Details {
    fn name(&self) -> &'static str {
        "status"
    }

    fn call<'a>(&'a self, call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            let open = call.is_open();
            let mut answer = match next.run(call).await {
                Ok(answer) => answer,
                Err(status) => return Ok(explain(status).into_http().into()),
            };
            if !open
                && let Some(status) = Status::from_header_map(answer.response.headers())
                && status.code() != Code::Ok
                && status.details().is_empty()
            {
                answer.response = explain(status).into_http();
            }
            Ok(answer)
        })
    }
}

fn explain(status: Status) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let said = status.message();
    match status.code() {
        Code::Ok | Code::Unimplemented => status,
        Code::Internal if said.starts_with("failed to decode Protobuf message") => {
            malformed("not a valid message")
        }
        Code::Internal if said.starts_with("Missing request message") => malformed("missing"),
        Code::OutOfRange if said.contains("decoded message length too large") => {
            malformed("larger than 4 MiB")
        }
        Code::DeadlineExceeded => RpcError::new(
            ErrorReason::DeadlineExceeded,
            "The deadline of the call has passed. RpcRequest again with a longer timeout.",
        )
        .into(),
        // The caller disconnected in the middle of its request and does not read this response.
        Code::Cancelled => status,
        _ => RpcError::internal(format!("undocumented refusal: {:?}: {said}", status.code())).into(),
    }
}

fn malformed(why: &str) -> Status {
    let message = format!("the request is {why}");
    RpcError::new(ErrorReason::FieldInvalid, message.as_str())
        .field("", message.as_str())
        .into()
}
