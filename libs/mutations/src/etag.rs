use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;

/// Encodes the revision of a row as opaque text.
pub fn etag(revision: i64) -> String {
    URL_SAFE_NO_PAD.encode(revision.to_be_bytes())
}

/// Refuses a change that is based on an older revision. An empty `given` skips the check.
pub fn check_etag(given: &str, revision: i64) -> Result<(), RpcError> {
    if given.is_empty() || given == etag(revision) {
        return Ok(());
    }
    Err(RpcError::new(
        ErrorReason::EtagMismatch,
        "It has changed since it was read. Reload it and try again.",
    ))
}
