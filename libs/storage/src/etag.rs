use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_proto::parta::status::v1::ErrorReason;
use parta_status::RpcError;

/// The opaque text of a row's revision.
pub fn etag(revision: i64) -> String {
    URL_SAFE_NO_PAD.encode(revision.to_be_bytes())
}

/// Refuses a change based on an older reading. An empty `given` asks for no check.
pub fn check_etag(given: &str, revision: i64) -> Result<(), RpcError> {
    if given.is_empty() || given == etag(revision) {
        return Ok(());
    }
    Err(RpcError::new(
        ErrorReason::EtagMismatch,
        "It has changed since it was read.",
    ))
}
