//! The file format of age, version 1 (<https://age-encryption.org/v1>), for recipients `age1...`.
//!
//! Only keys of X25519 are read and written: no passphrases, no keys of SSH, no plugins. The crate `age`
//! would bring sixty other crates. The cryptography is that of aws-lc; a test reads a file of the program
//! `age`.
mod bech32;
mod header;
mod payload;

#[cfg(test)]
mod tests;

use std::{
    io::{self, BufRead, Write},
    str::FromStr,
};

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};

pub(super) use payload::{Decrypting, Encrypting};

const KEY_BYTES: usize = 32;
/// The key of one file, which the header has encrypted to each recipient.
const FILE_KEY_BYTES: usize = 16;

type FileKey = [u8; FILE_KEY_BYTES];

/// A public key, `age1...`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipient([u8; KEY_BYTES]);

/// A secret key, `AGE-SECRET-KEY-1...`.
pub(super) struct Identity {
    key: PrivateKey,
    recipient: Recipient,
}

/// The text is no key of age.
#[derive(Debug, PartialEq)]
pub(crate) struct NotAKey;

impl FromStr for Recipient {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        key(text, "age").map(Self).ok_or(NotAKey)
    }
}

impl FromStr for Identity {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let bytes = key(text, "age-secret-key-").ok_or(NotAKey)?;
        let key = PrivateKey::from_private_key(&X25519, &bytes).map_err(|_| NotAKey)?;
        let recipient = public(&key).map_err(|_| NotAKey)?;
        Ok(Self { key, recipient })
    }
}

fn key(text: &str, prefix: &str) -> Option<[u8; KEY_BYTES]> {
    bech32::decode(text, prefix)?.try_into().ok()
}

fn public(key: &PrivateKey) -> io::Result<Recipient> {
    let public = key.compute_public_key().map_err(io::Error::other)?;
    let bytes = public.as_ref().try_into().map_err(io::Error::other)?;
    Ok(Recipient(bytes))
}

/// Returns the secret that a key shares with the owner of a public key; `None` for a public key that nobody
/// owns.
fn shared(key: &PrivateKey, with: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let with = UnparsedPublicKey::new(&X25519, with);
    agreement::agree(key, with, (), |secret| secret.try_into().map_err(|_| ())).ok()
}

/// Returns HKDF-SHA256 of a key.
fn derive<const N: usize>(key: &[u8], salt: &[u8], label: &str) -> io::Result<[u8; N]> {
    let mut derived = [0; N];
    hkdf::Hkdf::<sha2::Sha256>::new(Some(salt), key)
        .expand(label.as_bytes(), &mut derived)
        .map_err(io::Error::other)?;
    Ok(derived)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Writes the header of a file for these recipients. Returns a writer for its content.
pub(super) fn encrypt<W: Write>(mut to: W, recipients: &[Recipient]) -> io::Result<Encrypting<W>> {
    let file_key: FileKey = random()?;
    header::write(&mut to, &file_key, recipients)?;
    let nonce: [u8; FILE_KEY_BYTES] = random()?;
    to.write_all(&nonce)?;
    Encrypting::new(to, &derive(&file_key, &nonce, "payload")?)
}

/// Reads the header of a file. Returns a reader of its content, or `None` if the file is encrypted to none of
/// these keys.
pub(super) fn decrypt<R: BufRead>(mut from: R, identities: &[Identity]) -> io::Result<Option<Decrypting<R>>> {
    let Some(file_key) = header::read(&mut from, identities)? else {
        return Ok(None);
    };
    let mut nonce = [0; FILE_KEY_BYTES];
    from.read_exact(&mut nonce)?;
    Decrypting::new(from, &derive(&file_key, &nonce, "payload")?).map(Some)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the encrypted file is damaged: {what}"),
    )
}
