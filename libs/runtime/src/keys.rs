//! Secrets and identities, one file each in one flat folder, as a mounted Secret has it.
//!
//! | file | what | who needs it |
//! |---|---|---|
//! | `suite.secret` | master secret | every service |
//! | `<service>.pem` | key pair of a service | that service |
//! | `<service>.pub` | its public half | every service |
//! | `token-signing.pem` | signs access tokens | membership |
//! | `operator.key` or `operator.digest` | the operator's credential or its digest | every service |
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use parta_access::{KeyPair, OperatorCredential, Secrets, ServiceIdentity, ServiceKeys};
use parta_ids::Ambient;
use secrecy::ExposeSecret as _;

use crate::Service;

const SUITE_SECRET: &str = "suite.secret";
const OPERATOR_KEY: &str = "operator.key";
const OPERATOR_DIGEST: &str = "operator.digest";
const TOKEN_SIGNING: &str = "token-signing.pem";
const MEMBERSHIP: &str = "membership";

pub(crate) struct Keys {
    folder: PathBuf,
    suite: Secrets,
}

impl Keys {
    /// Reads the master secret; the rest is read where it is needed.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let text = read(&folder.join(SUITE_SECRET))?;
        let suite =
            Secrets::from_text(&text).with_context(|| format!("{SUITE_SECRET} in {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            suite,
        })
    }

    /// Makes whatever is missing, then reads.
    pub(crate) fn open_or_make(
        folder: &Path,
        services: &[Service],
        ambient: &Ambient,
    ) -> anyhow::Result<Self> {
        make_folder(folder).with_context(|| format!("folder of keys {}", folder.display()))?;
        make(folder, SUITE_SECRET, || {
            Ok(Secrets::generate(ambient).to_text().expose_secret().to_owned())
        })?;
        for service in services {
            let pem = format!("{}.pem", service.name);
            make(folder, &pem, || Ok(KeyPair::generate(ambient)?.pem().to_owned()))?;
            let pair = KeyPair::from_pem(&read(&folder.join(&pem))?).with_context(|| pem)?;
            make(folder, &format!("{}.pub", service.name), || {
                Ok(pair.public().to_owned())
            })?;
            if service.name == MEMBERSHIP {
                make(folder, TOKEN_SIGNING, || {
                    Ok(KeyPair::generate(ambient)?.pem().to_owned())
                })?;
            }
        }
        if !folder.join(OPERATOR_DIGEST).exists() {
            make(folder, OPERATOR_KEY, || {
                Ok(OperatorCredential::generate(ambient).0.expose_secret().to_owned())
            })?;
        }
        Self::open(folder)
    }

    pub(crate) fn operator_key_file(&self) -> PathBuf {
        self.folder.join(OPERATOR_KEY)
    }

    pub(crate) fn suite_secrets(&self) -> Secrets {
        self.suite.clone()
    }

    pub(crate) fn secrets(&self, service: &str) -> Secrets {
        self.suite.child(&format!("parta.service.{service}"))
    }

    pub(crate) fn identity(&self, service: &str, ambient: &Ambient) -> anyhow::Result<ServiceIdentity> {
        Ok(ServiceIdentity::new(
            service,
            &self.pair(&format!("{service}.pem"))?,
            ambient.clone(),
        )?)
    }

    pub(crate) fn signing_key(&self, service: &str) -> anyhow::Result<Option<KeyPair>> {
        if service != MEMBERSHIP {
            return Ok(None);
        }
        self.pair(TOKEN_SIGNING).map(Some)
    }

    /// Every `<service>.pub` of the folder: who is not there cannot call.
    pub(crate) fn service_keys(&self, ambient: &Ambient) -> anyhow::Result<ServiceKeys> {
        let mut public = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "pub")
                && let Some(name) = path.file_stem().and_then(|s| s.to_str())
            {
                public.push((name.to_owned(), read(&path)?.trim().to_owned()));
            }
        }
        let pairs = public.iter().map(|(name, key)| (name.as_str(), key.as_str()));
        ServiceKeys::new(pairs, ambient.clone())
            .with_context(|| format!("a .pub in {}", self.folder.display()))
    }

    /// None is fine: then nobody enters as operator.
    pub(crate) fn operators(&self) -> anyhow::Result<Vec<(String, OperatorCredential)>> {
        let mut operators = Vec::new();
        let (key, digest) = (self.folder.join(OPERATOR_KEY), self.folder.join(OPERATOR_DIGEST));
        if key.exists() {
            operators.push(OperatorCredential::from_text(&read(&key)?).context(OPERATOR_KEY)?);
        }
        if digest.exists() {
            for line in read(&digest)?.lines().filter(|line| !line.trim().is_empty()) {
                operators.push(OperatorCredential::from_digest(line).context(OPERATOR_DIGEST)?);
            }
        }
        Ok(operators
            .into_iter()
            .map(|credential| (format!("operator-{}", credential.id()), credential))
            .collect())
    }

    fn pair(&self, name: &str) -> anyhow::Result<KeyPair> {
        let path = self.folder.join(name);
        KeyPair::from_pem(&read(&path)?).with_context(|| format!("file {}", path.display()))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("key file {}", path.display()))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a file that only its owner reads, unless it exists; whole or not at all, also through a crash.
fn make(folder: &Path, name: &str, text: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<()> {
    let path = folder.join(name);
    if path.exists() {
        return Ok(());
    }
    let unfinished = folder.join(format!("{name}.unfinished"));
    let write = |text: String| -> io::Result<()> {
        if unfinished.exists() {
            fs::remove_file(&unfinished)?;
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(text.trim_end().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        fs::File::open(folder)?.sync_all()
    };
    write(text()?).with_context(|| format!("key file {}", path.display()))
}
