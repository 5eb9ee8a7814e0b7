use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of the text of a link, to which a join ticket is bound. The ticket does not reveal the
/// link, because a link has enough random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkDigest([u8; 32]);

const CODE_CHARS: usize = 12;
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Reads the typed code of a link: 12 characters of Crockford's base32 in any case, grouped by spaces and
/// dashes, with O for 0 and I or L for 1. Returns it in one form; `None` if the text cannot be a code.
pub fn typed_code(text: &str) -> Option<String> {
    let mut code = String::with_capacity(CODE_CHARS);
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if code.len() == CODE_CHARS || !c.is_ascii() || !CROCKFORD.contains(&(c as u8)) {
            return None;
        }
        code.push(c);
    }
    (code.len() == CODE_CHARS).then_some(code)
}

/// A text that is no digest.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the text is no digest of a link")]
pub struct InvalidLinkDigest;

impl LinkDigest {
    /// Returns the digest of the token of a link, or of its typed code, which has the same digest however it
    /// is typed. Spaces around the text do not count.
    pub fn of(text: &str) -> Self {
        let code = typed_code(text);
        let text = code.as_deref().unwrap_or(text.trim());
        Self(Sha256::digest(text.as_bytes()).into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_has_one_digest_however_it_is_typed() {
        let digest = LinkDigest::of("0123-45AB-1XYZ");
        for typed in ["012345AB1XYZ", "o123 45ab lxyz", " O123-45ab-IXYZ "] {
            assert_eq!(LinkDigest::of(typed), digest, "{typed}");
        }
        for other in [
            "0123-45AB-1XY",
            "0123-45AB-1XYZ0",
            "0123-45AB-1XYU",
            "0123-45AB-1XYЯ",
        ] {
            assert_eq!(typed_code(other), None, "{other}");
        }
        // A token keeps its case.
        assert_ne!(
            LinkDigest::of("abcdefghijklmnopqrstuvwx"),
            LinkDigest::of("ABCDEFGHIJKLMNOPQRSTUVWX")
        );
    }
}
