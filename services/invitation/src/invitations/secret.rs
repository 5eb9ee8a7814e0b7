//! The secret of an invitation. It is derived from the id, so that it can be returned again, and only its
//! digests are stored.
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::{Secrets, typed_code};
use parta_ids::{InvitationId, TypedId as _};
use sha2::{Digest as _, Sha256};

const TOKEN_BYTES: usize = 18;
const TOKEN_CHARS: usize = 24;
const CODE_CHARS: usize = 12;
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Token and typed code of one invitation.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LinkSecret {
    /// 144 bits as base64url.
    pub(crate) token: String,
    /// 60 bits as 12 Crockford characters, not grouped.
    pub(crate) code: String,
}

/// The digest of a presented secret, by which the invitation is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presented {
    /// SHA-256 of the token.
    Token(Vec<u8>),
    /// Keyed digest of the code: without the key, 60 bits could be guessed from a stolen table.
    Code(Vec<u8>),
}

impl LinkSecret {
    pub(crate) fn of(secrets: &Secrets, id: InvitationId) -> Self {
        let bytes = secrets.derive(&format!("invitation.link.v1/{}", id.uuid()));
        let token = URL_SAFE_NO_PAD.encode(&bytes[..TOKEN_BYTES]);
        // The code uses bytes that the token does not contain.
        let mut bits = bytes[TOKEN_BYTES..TOKEN_BYTES + 8]
            .iter()
            .fold(0_u64, |n, b| n << 8 | u64::from(*b));
        let mut code = String::with_capacity(CODE_CHARS);
        for _ in 0..CODE_CHARS {
            code.push(char::from(CROCKFORD[(bits & 31) as usize]));
            bits >>= 5;
        }
        Self { token, code }
    }

    pub(crate) fn token_digest(&self) -> Vec<u8> {
        token_digest(&self.token)
    }

    pub(crate) fn code_digest(&self, secrets: &Secrets) -> Vec<u8> {
        code_digest(secrets, &self.code)
    }

    /// The code as people read it: `XXXX-XXXX-XXXX`.
    pub(crate) fn grouped_code(&self) -> String {
        format!("{}-{}-{}", &self.code[..4], &self.code[4..8], &self.code[8..])
    }
}

impl Presented {
    /// Returns `None` if the text does not have the form of a link token.
    pub(crate) fn token(text: &str) -> Option<Self> {
        let ours = text.len() == TOKEN_CHARS
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        ours.then(|| Self::Token(token_digest(text)))
    }

    /// Reads a code as people type it; `None` if it cannot be one.
    pub(crate) fn code(secrets: &Secrets, typed: &str) -> Option<Self> {
        typed_code(typed).map(|code| Self::Code(code_digest(secrets, &code)))
    }
}

fn token_digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

fn code_digest(secrets: &Secrets, code: &str) -> Vec<u8> {
    secrets.hmac("invitation.code.v1", code.as_bytes()).to_vec()
}
