use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_status::{RpcError, etag_mismatch};

/// Encodes the revision of a row as opaque text.
pub fn etag(revision: i64) -> String {
    URL_SAFE_NO_PAD.encode(revision.to_be_bytes())
}

/// Refuses a change that is based on an older revision. An empty `given` skips the check.
pub fn check_etag(given: &str, revision: i64) -> Result<(), RpcError> {
    if given.is_empty() || given == etag(revision) {
        return Ok(());
    }
    Err(etag_mismatch())
}
