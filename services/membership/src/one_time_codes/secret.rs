//! The text of a code. It is derived, so that a repeated call returns it, and only its digest is stored.
use parta_access::Secrets;
use parta_ids::Uuid;
use sha2::{Digest as _, Sha256};

/// Digits and letters without I, L, O and U, which people confuse with others.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code, five bits each: nobody guesses 80 bits.
const LENGTH: usize = 16;

/// The text of a code, in groups of four characters.
pub(super) fn text(secrets: &Secrets, code: Uuid) -> String {
    let digest = secrets.hmac("membership.one-time-code", code.as_bytes());
    let mut text = String::with_capacity(LENGTH + 3);
    for (n, byte) in digest.iter().take(LENGTH).enumerate() {
        if n > 0 && n % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    text
}

/// The digest of a text as a person enters it. The text has 80 random bits, so it needs no slow hash.
pub(super) fn digest(text: &str) -> Vec<u8> {
    let normal = |c: char| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let characters = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
    let normalized: String = characters.map(normal).collect();
    Sha256::digest(normalized.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_people_write_it() {
        let wanted = digest("7K3M-Q2XN-0V8D-R41A");
        for typed in ["7k3mq2xn0v8dr41a", " 7K3M Q2XN OV8D R4IA ", "7k3m-q2xn-ov8d-r4la"] {
            assert_eq!(digest(typed), wanted, "{typed}");
        }
        assert_ne!(digest("7K3M-Q2XN-0V8D-R41B"), wanted);
    }
}
