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
/// The marker of a byte that is not in the alphabet.
const NO_DIGIT: u8 = 0xff;
/// The digit of each byte. Every request names several ids, so that a search in the alphabet would cost more
/// instructions than the rest of their validation.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit: u8 = 0;
    while digit < 32 {
        digits[ALPHABET[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};

/// Encodes 128 bits as 26 characters of ASCII.
pub fn encode(uuid: Uuid) -> [u8; 26] {
    let mut bits = uuid.as_u128();
    let mut text = [0; 26];
    for byte in text.iter_mut().rev() {
        *byte = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    text
}

/// Decodes 26 characters; `None` for other texts and for values of more than 128 bits.
pub fn decode(suffix: &str) -> Option<Uuid> {
    let bytes = suffix.as_bytes();
    if bytes.len() != 26 || bytes[0] > b'7' {
        return None;
    }
    let (mut bits, mut all) = (0u128, 0);
    for byte in bytes {
        let digit = DIGITS[usize::from(*byte)];
        all |= digit;
        bits = (bits << 5) | u128::from(digit & 31);
    }
    (all != NO_DIGIT).then(|| Uuid::from_u128(bits))
}
