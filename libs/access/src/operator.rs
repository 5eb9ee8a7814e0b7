use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_ids::Env;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::KeyError;

/// The operator key as stored by a server: its digest. A key of 256 random bits needs no slow password hash
/// (ASVS 6.5.2).
///
/// The text form is `opk_<id>_<43 characters>_<checksum>`. The checksum lets a secret scanner recognize a
/// leaked key.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorCredential {
    id: String,
    digest: [u8; 32],
}

fn checksum(body: &str) -> String {
    Sha256::digest(body.as_bytes())
        .iter()
        .take(3)
        .map(|b| format!("{b:02x}"))
        .collect()
}

impl OperatorCredential {
    /// Generates a key and returns its text, which is not stored.
    pub fn generate(env: &Env) -> (SecretString, Self) {
        let (mut id, mut secret) = ([0; 4], [0; 32]);
        env.ids.fill(&mut id);
        env.ids.fill(&mut secret);
        let id: String = id.iter().map(|b| format!("{b:02x}")).collect();
        let body = format!("opk_{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let text = format!("{body}_{}", checksum(&body));
        let credential = Self {
            id,
            digest: Sha256::digest(text.as_bytes()).into(),
        };
        (SecretString::from(text), credential)
    }

    /// Returns whether the text has the form of an operator key.
    pub fn looks_like(text: &str) -> bool {
        text.starts_with("opk_")
    }

    /// Parses the text of a key, for a server that reads it from a file.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let (body, checksum_text) = text.rsplit_once('_').ok_or(KeyError::Secret)?;
        let (id, secret) = body
            .strip_prefix("opk_")
            .and_then(|rest| rest.split_once('_'))
            .ok_or(KeyError::Secret)?;
        let is_complete = URL_SAFE_NO_PAD
            .decode(secret)
            .is_ok_and(|bytes| bytes.len() == 32);
        if id.is_empty() || !is_complete || checksum(body) != checksum_text {
            return Err(KeyError::Secret);
        }
        Ok(Self {
            id: id.to_owned(),
            digest: Sha256::digest(text.as_bytes()).into(),
        })
    }

    /// Parses the configured form: `<id>:<SHA-256 of the key in hexadecimal>`.
    pub fn from_digest(text: &str) -> Result<Self, KeyError> {
        let (id, hex) = text.trim().split_once(':').ok_or(KeyError::Secret)?;
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(KeyError::Secret);
        }
        let mut digest = [0; 32];
        for (i, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| KeyError::Secret)?;
        }
        Ok(Self {
            id: id.to_owned(),
            digest,
        })
    }

    /// Returns the configured form.
    pub fn to_digest(&self) -> String {
        let hex: String = self.digest.iter().map(|b| format!("{b:02x}")).collect();
        format!("{}:{hex}", self.id)
    }

    /// Returns the id of the key, which is not secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns whether `text` is this key. Compares in constant time.
    pub fn matches(&self, text: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        digest.ct_eq(&self.digest).into()
    }
}

impl std::fmt::Debug for OperatorCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OperatorCredential({})", self.id)
    }
}
