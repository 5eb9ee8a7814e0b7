//! Reports refusals at DEBUG, for developers and for tests. The tests compare the reason of a
//! refusal with the reasons that the comment of the RPC in its proto lists.
use parta_proto::Method;
use parta_status::RpcError;
use tracing::Level;

use crate::status_headers::received_status;

/// The target of the events. `parta_testkit` and `integration-tests/src/process.rs` collect the
/// events and name the same target.
const TARGET: &str = "parta_grpc::refusal";

/// Reports the refusal of a call. The headers are those of a response without a body, or its
/// trailers. A status without a documented reason is not reported: it is UNIMPLEMENTED, or the
/// caller has disconnected.
pub(crate) fn report(method: &Method, headers: &http::HeaderMap) {
    if !tracing::enabled!(target: TARGET, Level::DEBUG) {
        return;
    }
    let refusal = received_status(headers).and_then(|status| RpcError::from_status(&status));
    if let Some(refusal) = refusal {
        tracing::debug!(
            target: TARGET,
            rpc = method.rpc(),
            domain = refusal.domain(),
            reason = refusal.reason(),
            "call refused"
        );
    }
}
