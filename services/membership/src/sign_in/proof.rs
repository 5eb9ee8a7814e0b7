//! The proof that VerifyCode returns and StartSession needs. It is random and only its digest is stored,
//! so that neither the id of the flow nor a copy of the database or of the suite's secret is enough to
//! start a session.
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_ids::Env;
use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of a proof. A digest without salt is enough for 256 random bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProofDigest(pub(super) [u8; 32]);

impl ProofDigest {
    pub(crate) fn of(proof: &str) -> Self {
        Self(Sha256::digest(proof.as_bytes()).into())
    }
}

/// Makes a proof of 256 random bits.
pub(super) fn new(env: &Env) -> String {
    let mut bytes = [0; 32];
    env.ids.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
