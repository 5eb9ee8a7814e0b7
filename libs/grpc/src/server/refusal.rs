//! Reports refusals at DEBUG, for a developer who looks for a fault, and for tests: they compare the reason
//! with the list in the comment of the RPC.
use parta_proto::Method;
use parta_status::RpcError;
use tracing::Level;

use crate::status_headers::received_status;

/// The target of the events, which `parta_testkit` and the processes of the integration tests use.
const TARGET: &str = "parta_grpc::refusal";

/// Reports the refusal in headers or trailers. A status without a documented reason is not reported: it is
/// UNIMPLEMENTED, or the caller has disconnected.
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
