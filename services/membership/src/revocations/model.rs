use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Revoked;
use parta_ids::TypedId as _;
use sha2::{Digest as _, Sha256};

/// All revocations at one time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RevocationList {
    /// In the order of their ids, which shows nothing about the people.
    pub(super) revoked: Revoked,
    /// A digest of the ids, the same on every replica.
    pub(super) revision: String,
}

impl RevocationList {
    pub(super) fn new(mut revoked: Revoked) -> Self {
        revoked.sessions.sort_unstable();
        revoked.service_account_keys.sort_unstable();
        let mut digest = Sha256::new();
        // Without the number, an id could move from one list to the other.
        digest.update((revoked.sessions.len() as u64).to_be_bytes());
        for session in &revoked.sessions {
            digest.update(session.uuid().as_bytes());
        }
        for key in &revoked.service_account_keys {
            digest.update(key.uuid().as_bytes());
        }
        let revision = URL_SAFE_NO_PAD.encode(digest.finalize());
        Self { revoked, revision }
    }
}
