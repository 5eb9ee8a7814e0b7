use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of the text of a link, to which a join ticket is bound. The ticket does not reveal the
/// link, because a link has enough random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkDigest([u8; 32]);

/// A text that is no digest.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the text is no digest of a link")]
pub struct InvalidLinkDigest;

impl LinkDigest {
    /// Returns the digest of the token of a link, or of its typed code. Spaces around the text do not count.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.trim().as_bytes()).into())
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for LinkDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for LinkDigest {
    type Err = InvalidLinkDigest;

    fn from_str(text: &str) -> Result<Self, InvalidLinkDigest> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidLinkDigest)?;
        bytes.try_into().map(Self).map_err(|_| InvalidLinkDigest)
    }
}
