//! The TypeID text form (specification v0.3): `<prefix>_<26 characters of Crockford base32>` over a UUIDv7.

use uuid::Uuid;

/// The reason why a text is not an id of the required type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix is missing or belongs to another type.
    #[error("does not begin with \"{0}_\"")]
    Prefix(&'static str),
    /// The part after the prefix is not 26 lower-case base32 characters of at most 128 bits.
    #[error("is not followed by 26 base32 characters")]
    Suffix,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Encodes 128 bits as 26 characters.
pub fn encode(uuid: Uuid) -> String {
    let bits = uuid.as_u128();
    (0..26)
        .map(|i| char::from(ALPHABET[((bits >> (125 - 5 * i)) & 31) as usize]))
        .collect()
}

/// Decodes 26 characters; `None` for other texts and for values of more than 128 bits.
pub fn decode(suffix: &str) -> Option<Uuid> {
    let bytes = suffix.as_bytes();
    if bytes.len() != 26 || bytes[0] > b'7' {
        return None;
    }
    let mut bits = 0u128;
    for byte in bytes {
        let digit = ALPHABET.iter().position(|a| a == byte)?;
        bits = (bits << 5) | digit as u128;
    }
    Some(Uuid::from_u128(bits))
}
