//! The header: the key of the file, encrypted to each recipient, and an authentication code.
use std::io::{self, BufRead, Read as _, Write};

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    agreement::{PrivateKey, X25519},
};
use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use super::{FILE_KEY_BYTES, FileKey, Identity, KEY_BYTES, Recipient, damaged, derive, public, shared};

const VERSION: &str = "age-encryption.org/v1";
const KIND: &str = "X25519";
/// A header of a backup has 200 bytes for each recipient.
const MAX_BYTES: u64 = 256 * 1024;
/// The length of a full line. A shorter one ends the body of a stanza.
const LINE: usize = 64;
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD);

/// Returns the key that encrypts the key of the file to one recipient, and that is used once.
fn wrapping_key(secret: &[u8], share: &[u8], recipient: Recipient) -> io::Result<LessSafeKey> {
    let salt = [share, &recipient.0].concat();
    let key: [u8; KEY_BYTES] = derive(secret, &salt, &format!("{VERSION}/{KIND}"))?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(io::Error::other)?;
    Ok(LessSafeKey::new(key))
}

fn no_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn code(file_key: &FileKey, header: &[u8]) -> io::Result<Hmac<Sha256>> {
    let key: [u8; KEY_BYTES] = derive(file_key, &[], "header")?;
    let mut code = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).map_err(io::Error::other)?;
    code.update(header);
    Ok(code)
}

pub(super) fn write(to: &mut impl Write, file_key: &FileKey, recipients: &[Recipient]) -> io::Result<()> {
    let mut header = format!("{VERSION}\n");
    for recipient in recipients {
        let key = PrivateKey::generate(&X25519).map_err(io::Error::other)?;
        let share = public(&key)?.0;
        let secret = shared(&key, &recipient.0)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the recipient is no public key"))?;
        let mut wrapped = file_key.to_vec();
        wrapping_key(&secret, &share, *recipient)?
            .seal_in_place_append_tag(no_nonce(), Aad::empty(), &mut wrapped)
            .map_err(io::Error::other)?;
        let [share, wrapped] = [BASE64.encode(share), BASE64.encode(wrapped)];
        header.push_str(&format!("-> {KIND} {share}\n{wrapped}\n"));
    }
    header.push_str("---");
    let code = code(file_key, header.as_bytes())?.finalize().into_bytes();
    header.push_str(&format!(" {}\n", BASE64.encode(code)));
    to.write_all(header.as_bytes())
}

/// Returns the key of the file; `None` if it is encrypted to none of these keys.
pub(super) fn read(from: &mut impl BufRead, identities: &[Identity]) -> io::Result<Option<FileKey>> {
    let mut from = from.take(MAX_BYTES);
    let (mut header, mut found) = (Vec::new(), None);
    if line(&mut from, &mut header)? != VERSION {
        return Err(damaged("it does not begin as a file of age"));
    }
    loop {
        let before = header.len();
        let first = line(&mut from, &mut header)?.to_owned();
        if let Some(stored) = first.strip_prefix("--- ") {
            header.truncate(before + "---".len());
            let Some(file_key) = found else {
                return Ok(None);
            };
            let stored = BASE64.decode(stored).map_err(|_| damaged("its header"))?;
            let code = code(&file_key, &header)?;
            code.verify_slice(&stored).map_err(|_| damaged("its header"))?;
            return Ok(Some(file_key));
        }
        let words = first.strip_prefix("-> ").ok_or_else(|| damaged("its header"))?;
        let mut body = String::new();
        loop {
            let part = line(&mut from, &mut header)?;
            body.push_str(part);
            if part.len() < LINE {
                break;
            }
        }
        // Stanzas of other kinds are for other programs.
        if let (None, Some(share)) = (
            found,
            words.strip_prefix(KIND).and_then(|rest| rest.strip_prefix(' ')),
        ) {
            let decoded = BASE64
                .decode(share)
                .and_then(|share| Ok((share, BASE64.decode(&body)?)));
            let (share, wrapped) = decoded.map_err(|_| damaged("its header"))?;
            found = identities
                .iter()
                .find_map(|identity| opened(identity, &share, &wrapped));
        }
    }
}

/// Returns the key of the file, if it is encrypted to this key.
fn opened(identity: &Identity, share: &[u8], wrapped: &[u8]) -> Option<FileKey> {
    if wrapped.len() != FILE_KEY_BYTES + CHACHA20_POLY1305.tag_len() {
        return None;
    }
    let secret = shared(&identity.key, share)?;
    let key = wrapping_key(&secret, share, identity.recipient).ok()?;
    let mut wrapped = wrapped.to_vec();
    let file_key = key.open_in_place(no_nonce(), Aad::empty(), &mut wrapped).ok()?;
    FileKey::try_from(&*file_key).ok()
}

/// Reads a line, appends it to the header and returns it without its end.
fn line<'a>(from: &mut impl BufRead, header: &'a mut Vec<u8>) -> io::Result<&'a str> {
    let before = header.len();
    from.read_until(b'\n', header)?;
    let line = header.get(before..).and_then(|line| line.strip_suffix(b"\n"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    line.ok_or_else(|| damaged("its header ends early"))
}
