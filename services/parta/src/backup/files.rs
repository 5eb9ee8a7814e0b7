//! Files that only their owner can read, with their sums, encrypted on request.
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::age::{self, Identity, Recipient};

/// A file of the backup as it is stored, that is encrypted if the backup is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl StoredFile {
    /// Returns the path of the file in the folder of the backup, after its size and its sum were compared.
    pub(super) fn verify(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = folder.join(&self.name);
        let advice = "copy it again from where the backup is kept, or use another backup";
        let file =
            File::open(&path).with_context(|| format!("the file {} is missing; {advice}", path.display()))?;
        let (bytes, sha256) = digest(file).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            bytes == self.bytes,
            "the file {} has {bytes} bytes instead of {}; {advice}",
            path.display(),
            self.bytes
        );
        ensure!(
            sha256 == self.sha256,
            "the file {} is damaged: its SHA-256 is not that of the manifest; {advice}",
            path.display()
        );
        Ok(path)
    }
}

/// Creates a file that only its owner can read. Never opens an existing file.
pub(super) fn private_file(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))
}

/// Creates a folder that only its owner can enter. Never takes an existing one.
pub(super) fn private_folder(path: &Path) -> anyhow::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).with_context(|| {
        format!(
            "cannot create {}; name a folder that does not exist yet, in a folder that does",
            path.display()
        )
    })
}

/// Writes through to a file, and counts and digests what is written.
struct Digested<W> {
    to: W,
    bytes: u64,
    sum: Sha256,
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let written = self.to.write(from)?;
        self.sum.update(&from[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<W> Digested<W> {
    fn new(to: W) -> Self {
        Self {
            to,
            bytes: 0,
            sum: Sha256::new(),
        }
    }

    fn end(self) -> (W, u64, String) {
        let sum = self.sum.finalize();
        let hex = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        (self.to, self.bytes, hex)
    }
}

/// Returns the number of bytes and the SHA-256 of what a reader has.
pub(super) fn digest(mut from: impl Read) -> io::Result<(u64, String)> {
    let mut digested = Digested::new(io::sink());
    io::copy(&mut from, &mut digested)?;
    let (_, bytes, sum) = digested.end();
    Ok((bytes, sum))
}

/// Stores what a reader has as a file of the backup, encrypted if there are recipients.
pub(super) fn store(
    folder: &Path,
    name: &str,
    mut from: impl Read,
    recipients: &[Recipient],
) -> anyhow::Result<StoredFile> {
    let name = match recipients {
        [] => name.to_owned(),
        _ => format!("{name}.age"),
    };
    let path = folder.join(&name);
    let failed = || format!("cannot write {}", path.display());
    let mut digested = Digested::new(private_file(&path)?);
    if recipients.is_empty() {
        io::copy(&mut from, &mut digested).with_context(failed)?;
    } else {
        let mut encrypted = age::encrypt(digested, recipients).with_context(failed)?;
        io::copy(&mut from, &mut encrypted).with_context(failed)?;
        digested = encrypted.finish().with_context(failed)?;
    }
    let (file, bytes, sha256) = digested.end();
    file.sync_all().with_context(failed)?;
    Ok(StoredFile { name, bytes, sha256 })
}

/// Opens a file of the backup for reading, decrypted if there are identities.
pub(super) fn open(path: &Path, identities: &[Identity]) -> anyhow::Result<Box<dyn Read + Send>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    if identities.is_empty() {
        return Ok(Box::new(file));
    }
    let decrypted = age::decrypt(BufReader::new(file), identities)
        .with_context(|| format!("cannot decrypt {}", path.display()))?;
    let decrypted = decrypted.with_context(|| {
        format!(
            "cannot decrypt {}: it is encrypted to another key; name the file of its key by --identity-file",
            path.display()
        )
    })?;
    Ok(Box::new(decrypted))
}

/// Reads the secret keys of a file that `age-keygen` wrote.
pub(super) fn read_identities(path: &Path) -> anyhow::Result<Vec<Identity>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = keys.map(str::parse::<Identity>);
    // The error does not repeat the line, which may be a key with a typing mistake.
    let keys: Vec<_> = keys
        .collect::<Result<_, _>>()
        .map_err(|_| anyhow!("{} has a line that is no secret key of age", path.display()))?;
    anyhow::ensure!(!keys.is_empty(), "{} has no secret key of age", path.display());
    Ok(keys)
}
