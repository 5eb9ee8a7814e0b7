use std::io::{Read as _, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

/// Pairs of keys that `age-keygen` made for these tests.
const FIRST: (&str, &str) = (
    "age10zzlgzjadqscccv90d3c3flkp0x3jpsphxwtrlecszu37chr2yrsuz4sfz",
    "AGE-SECRET-KEY-13MF7KWQP8RFLTHH83Q5HKMG6TRVQXM842EP9HNNX7TF2Z436HH4QQFE2QV",
);
const SECOND: (&str, &str) = (
    "age1fskun8dlm22klgzpl42san323n978y4egle0a33yd063mf96zpkskvljjm",
    "AGE-SECRET-KEY-1F8ZD8CK3UFZHD5NKCT7JLN44GF483AKZLVWR6G9CHH4YG7J8808SXXFLMQ",
);
/// The word `Parta`, encrypted to both by the program `age`.
const OF_AGE: &str = "\
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBWN2FPUnFJN2o1SjBPTXpSa01pcEVERGdZbVlVcHRNNG5CeX\
ROVVg2aVJvCmxpUWJiSUZxbUN4U3dMcG9jTW1XaVFrdVQzYkxKTEdzV1I2d2dSZGhBZmcKLT4gWDI1NTE5IGcrQU0z\
aVJEN3pHWVg3R0IrUlVIRVBOSU8vNXlOL24vTy9mdEFOQmx5bDAKdjU2bEhqN0ZXVG4xNUpROS9BTVMxMVZXc2FFen\
BKbGIzUVF1RTNuTHlrOAotLS0gTUtMZXAwM1FrUUlsOS9vV3dtM3hncjllZUQ3WkEvT2t2VlZHTVZJWDNDTQpJGP9H\
lCf7S9wJUXIRUwI2YUVDE+qpeaBja/xaDIh7GNrU7Wku";

fn decrypted(file: &[u8], key: &str) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    Ok(match decrypt(file, &[key.parse().unwrap()])? {
        Some(mut content) => {
            content.read_to_end(&mut text)?;
            Some(text)
        }
        None => None,
    })
}

fn encrypted(content: &[u8], recipient: &str) -> Vec<u8> {
    let mut writer = encrypt(Vec::new(), &[recipient.parse().unwrap()]).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

#[test]
fn file_of_the_program_age_is_read_with_each_key() {
    let file = STANDARD.decode(OF_AGE).unwrap();
    for (_, key) in [FIRST, SECOND] {
        assert_eq!(decrypted(&file, key).unwrap().unwrap(), b"Parta");
    }
}

#[test]
fn content_of_any_size_is_read_again_with_its_key_only() {
    for size in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let content = vec![7; size];
        let file = encrypted(&content, FIRST.0);
        assert_eq!(decrypted(&file, FIRST.1).unwrap().unwrap(), content);
        assert_eq!(decrypted(&file, SECOND.1).unwrap(), None);
    }
}

#[test]
fn damaged_file_is_refused() {
    let file = encrypted(&vec![7; 65_536 + 10], FIRST.0);
    let head = file.windows(4).position(|part| part == b"--- ").unwrap();
    for at in [3, head - 5, head + 10, head + 60, file.len() - 1] {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let read = decrypted(&changed, FIRST.1);
        assert!(!matches!(read, Ok(Some(_))), "the byte {at} was changed");
    }
    let second_chunk = file.len() - 26;
    for length in [0, 10, head + 5, head + 50, second_chunk, file.len() - 1] {
        let read = decrypted(&file[..length], FIRST.1);
        assert!(read.is_err(), "only {length} bytes were read");
    }
}

#[test]
fn text_that_is_no_key_is_refused() {
    for wrong in [
        "",
        "age1",
        &FIRST.0[..40],
        &FIRST.0.replace('z', "y"),
        &FIRST.0.replacen('z', "Z", 1),
        FIRST.1,
    ] {
        assert_eq!(wrong.parse::<Recipient>().unwrap_err(), NotAKey, "{wrong}");
    }
    assert!(FIRST.0.parse::<Identity>().is_err());
}
