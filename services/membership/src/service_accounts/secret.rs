//! The keys of service accounts, which are derived. Only their digests are stored.
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Secrets;
use parta_ids::{ServiceAccountKeyId, TypedId as _};
use sha2::{Digest as _, Sha256};

/// The text of a key, the same for a repetition.
pub(super) fn service_key(secrets: &Secrets, id: ServiceAccountKeyId) -> String {
    let digest = secrets.hmac("membership.service-key", id.uuid().as_bytes());
    format!("psk_{}", URL_SAFE_NO_PAD.encode(digest))
}

/// The digest of a key. The key has 256 random bits, so it needs no slow hash.
pub(super) fn key_digest(key: &str) -> Vec<u8> {
    Sha256::digest(key.as_bytes()).to_vec()
}
