//! Secrets and identities, one file each in a flat folder, like a mounted Secret.
//!
//! | file | content | required by |
//! |---|---|---|
//! | `suite.secret` | master secret | every service |
//! | `<service>.pem` | key pair of a service | that service |
//! | `<service>.pub` | its public key | every service |
//! | `token-signing.pem` | key that signs access tokens | membership |
//! | `token-signing-next.pem` | published key that signs after the next rotation; optional | membership |
//! | `token-signing-previous.pem` | published key that signed before that; optional | membership |
//! | `operator.key` or `operator.digest` | credential of the operator, or its digest | every service |
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use parta_access::{KeyPair, OperatorCredential, Secrets, ServiceIdentity, ServiceKeys, SigningKey};
use parta_ids::Env;
use secrecy::ExposeSecret as _;

use crate::Service;

const SUITE_SECRET: &str = "suite.secret";
const OPERATOR_KEY: &str = "operator.key";
const OPERATOR_DIGEST: &str = "operator.digest";
const TOKEN_SIGNING: &str = "token-signing.pem";
const TOKEN_SIGNING_NEXT: &str = "token-signing-next.pem";
const TOKEN_SIGNING_PREVIOUS: &str = "token-signing-previous.pem";
const MEMBERSHIP: &str = "membership";

/// Returns the path of the master secret in the folder of keys.
pub(crate) fn suite_secret(folder: &Path) -> PathBuf {
    folder.join(SUITE_SECRET)
}

pub(crate) struct Keys {
    folder: PathBuf,
    suite: Secrets,
}

impl Keys {
    /// Reads the master secret. Other files are read when they are needed.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let text = read(&folder.join(SUITE_SECRET))?;
        let suite =
            Secrets::from_text(&text).with_context(|| format!("{SUITE_SECRET} in {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            suite,
        })
    }

    /// Creates missing files and then reads the keys.
    pub(crate) fn open_or_make(folder: &Path, services: &[Service], env: &Env) -> anyhow::Result<Self> {
        make_folder(folder).with_context(|| format!("folder of keys {}", folder.display()))?;
        make(folder, SUITE_SECRET, || {
            Ok(Secrets::generate(env).to_text().expose_secret().to_owned())
        })?;
        for service in services {
            let [pem, public] = ["pem", "pub"].map(|kind| format!("{}.{kind}", service.name));
            let [private_file, public_file] = [&pem, &public].map(|name| folder.join(name));
            anyhow::ensure!(
                private_file.exists() || !public_file.exists(),
                "key file {} is missing, and {} was made from it: copy it back, or remove the public key too, \
                 and give the new pair to the service and the new public key to all services",
                private_file.display(),
                public_file.display()
            );
            make(folder, &pem, || Ok(KeyPair::generate(env)?.pem().to_owned()))?;
            let pair = KeyPair::from_pem(&read(&private_file)?).with_context(|| pem)?;
            make(folder, &public, || Ok(pair.public().to_owned()))?;
            check_public_key(folder, service.name, &pair)?;
            if service.name == MEMBERSHIP {
                make(folder, TOKEN_SIGNING, || {
                    Ok(KeyPair::generate(env)?.pem().to_owned())
                })?;
            }
        }
        if !folder.join(OPERATOR_DIGEST).exists() {
            make(folder, OPERATOR_KEY, || {
                Ok(OperatorCredential::generate(env).0.expose_secret().to_owned())
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

    pub(crate) fn identity(&self, service: &str, env: &Env) -> anyhow::Result<ServiceIdentity> {
        let pair = self.pair(&format!("{service}.pem"))?;
        check_public_key(&self.folder, service, &pair)?;
        Ok(ServiceIdentity::new(service, &pair, env.clone())?)
    }

    /// Returns the keys of the token issuer. Only the file names determine which key signs, so that
    /// replicas agree.
    pub(crate) fn signing_keys(&self, service: &str) -> anyhow::Result<Vec<SigningKey>> {
        if service != MEMBERSHIP {
            return Ok(Vec::new());
        }
        let since = DateTime::UNIX_EPOCH;
        let files = [
            (TOKEN_SIGNING_PREVIOUS, since),
            (TOKEN_SIGNING, since + TimeDelta::seconds(1)),
            (TOKEN_SIGNING_NEXT, DateTime::<Utc>::MAX_UTC),
        ];
        let there = |(name, _): &(&str, _)| *name == TOKEN_SIGNING || self.folder.join(name).exists();
        let key = |(name, sign_from)| {
            let pair = self.pair(name)?;
            Ok(SigningKey {
                kid: pair.public().to_owned(),
                pair,
                publish_time: since,
                sign_from,
                retire_time: None,
            })
        };
        files.into_iter().filter(there).map(key).collect()
    }

    /// Reads every `<service>.pub` of the folder. Each service of `callers` must have one, because the calls
    /// of a service without a public key would be refused for ever.
    pub(crate) fn service_keys<'a>(
        &self,
        callers: impl IntoIterator<Item = &'a str>,
        env: &Env,
    ) -> anyhow::Result<ServiceKeys> {
        let mut public = Vec::new();
        for caller in callers {
            read(&self.folder.join(format!("{caller}.pub")))?;
        }
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "pub")
                && let Some(name) = path.file_stem().and_then(|s| s.to_str())
            {
                public.push((name.to_owned(), read(&path)?.trim().to_owned()));
            }
        }
        let pairs = public.iter().map(|(name, key)| (name.as_str(), key.as_str()));
        ServiceKeys::new(pairs, env.clone()).with_context(|| format!("a .pub in {}", self.folder.display()))
    }

    /// Returns the operator credentials. The folder must have at least one.
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
        anyhow::ensure!(
            !operators.is_empty(),
            "key file {}: no credential of the operator, neither here nor in {OPERATOR_KEY}",
            digest.display()
        );
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

/// Returns the key files that a service needs, by name, and no other: its own private key, the public keys of
/// all services, the master secret, for membership the keys that sign tokens, and the digest of the
/// operator's credential. The credential itself stays in the folder.
pub fn key_files(
    folder: &Path,
    service: &Service,
    services: &[Service],
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut names = vec![SUITE_SECRET.to_owned(), format!("{}.pem", service.name)];
    names.extend(services.iter().map(|service| format!("{}.pub", service.name)));
    if service.name == MEMBERSHIP {
        names.push(TOKEN_SIGNING.to_owned());
        let optional = [TOKEN_SIGNING_NEXT, TOKEN_SIGNING_PREVIOUS].into_iter();
        names.extend(
            optional
                .filter(|name| folder.join(name).exists())
                .map(str::to_owned),
        );
    }
    let read_one = |name: String| Ok((name.clone(), read(&folder.join(name))?));
    let mut files = names
        .into_iter()
        .map(read_one)
        .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let digests = if folder.join(OPERATOR_DIGEST).exists() {
        read(&folder.join(OPERATOR_DIGEST))?
    } else {
        let credential =
            OperatorCredential::from_text(&read(&folder.join(OPERATOR_KEY))?).context(OPERATOR_KEY)?;
        format!("{}\n", credential.to_digest())
    };
    files.insert(OPERATOR_DIGEST.to_owned(), digests);
    Ok(files)
}

/// The result of [`rotate_signing_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The next key was created. Every verifier knows it after membership has run with it for ten minutes.
    Prepared,
    /// The next key signs after the next start of membership. The previous key stays published until the next
    /// rotation.
    Switched,
}

/// Performs the next of the two steps that replace the signing key of access tokens without refusing a token.
/// After each step, restart membership (its replicas one after the other). Wait ten minutes between the
/// steps.
pub fn rotate_signing_key(folder: &Path, env: &Env) -> anyhow::Result<Rotation> {
    let [current, next, previous] =
        [TOKEN_SIGNING, TOKEN_SIGNING_NEXT, TOKEN_SIGNING_PREVIOUS].map(|name| folder.join(name));
    if !next.exists() {
        KeyPair::from_pem(&read(&current)?).context(TOKEN_SIGNING)?;
        make(folder, TOKEN_SIGNING_NEXT, || {
            Ok(KeyPair::generate(env)?.pem().to_owned())
        })?;
        return Ok(Rotation::Prepared);
    }
    KeyPair::from_pem(&read(&next)?).context(TOKEN_SIGNING_NEXT)?;
    // If the process crashes in between, `next` remains next to both other files, and the next rotation
    // resumes here.
    fs::copy(&current, &previous).with_context(|| format!("key file {}", previous.display()))?;
    fs::rename(&next, &current).with_context(|| format!("key file {}", current.display()))?;
    fs::File::open(folder)?.sync_all()?;
    Ok(Rotation::Switched)
}

/// Fails if the public key of the folder is that of another pair: the other services would refuse every call
/// of this one.
fn check_public_key(folder: &Path, service: &str, pair: &KeyPair) -> anyhow::Result<()> {
    let file = folder.join(format!("{service}.pub"));
    anyhow::ensure!(
        read(&file)?.trim() == pair.public(),
        "key file {} is not the public key of {service}.pem: copy both from the folder in which they were made",
        file.display()
    );
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("key file {}", path.display()))?;
    anyhow::ensure!(!text.trim().is_empty(), "key file {} is empty", path.display());
    Ok(text)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Creates a file that only its owner can read, unless it exists. The write is atomic, even if the process
/// crashes.
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

#[cfg(test)]
mod tests {
    use parta_access::TokenIssuer;

    use super::*;

    const SERVICES: [Service; 1] = [Service {
        name: MEMBERSHIP,
        package: &parta_proto_membership::PACKAGE,
        calls: &[],
        grpc_services: &[],
        config: |_| Vec::new(),
        build: |_| Box::pin(async { anyhow::bail!("is not built") }),
        migrations: Vec::new,
    }];

    #[test]
    fn each_service_gets_the_keys_that_it_needs() {
        let (folder, env) = (tempfile::tempdir().unwrap(), Env::system());
        let other = Service {
            name: "chat",
            ..SERVICES[0]
        };
        let services = [SERVICES[0], other];
        Keys::open_or_make(folder.path(), &services, &env).unwrap();
        let names = |service| -> Vec<String> {
            let files = key_files(folder.path(), service, &services).unwrap();
            assert!(!files["operator.digest"].is_empty());
            files.into_keys().collect()
        };
        assert_eq!(
            names(&other),
            [
                "chat.pem",
                "chat.pub",
                "membership.pub",
                "operator.digest",
                "suite.secret"
            ]
        );
        let signing = names(&services[0]);
        assert!(signing.contains(&TOKEN_SIGNING.to_owned()) && !signing.contains(&"chat.pem".to_owned()));
        // The files of a service are enough to accept the operator.
        let mounted = tempfile::tempdir().unwrap();
        for (name, text) in key_files(folder.path(), &other, &services).unwrap() {
            fs::write(mounted.path().join(name), text).unwrap();
        }
        let operators = |folder: &Path| Keys::open(folder).unwrap().operators().unwrap();
        let (own, theirs) = (operators(folder.path()), operators(mounted.path()));
        assert_eq!(own[0].0, theirs[0].0);
    }

    /// With the public key of another pair, the other services would refuse every call of the service.
    #[test]
    fn public_key_of_another_pair_is_refused() {
        let (folder, env) = (tempfile::tempdir().unwrap(), Env::system());
        let folder = folder.path();
        let keys = Keys::open_or_make(folder, &SERVICES, &env).unwrap();
        keys.identity(MEMBERSHIP, &env).unwrap();
        // The private key is lost, and the next command makes another one.
        fs::remove_file(folder.join("membership.pem")).unwrap();
        let refused = Keys::open_or_make(folder, &SERVICES, &env).err().unwrap();
        let (public, private) = (folder.join("membership.pub"), folder.join("membership.pem"));
        for named in [&public, &private] {
            let error = format!("{refused:#}");
            assert!(error.contains(&named.display().to_string()), "{error}");
        }
        assert!(!private.exists(), "no key is made beside a public key");
        // A Secret with the files of two pairs.
        let other = KeyPair::generate(&env).unwrap();
        fs::write(&private, other.pem()).unwrap();
        let error = format!("{:#}", keys.identity(MEMBERSHIP, &env).err().unwrap());
        assert!(error.contains("is not the public key of"), "{error}");
        // Both are made again.
        fs::remove_file(&public).unwrap();
        fs::remove_file(&private).unwrap();
        let keys = Keys::open_or_make(folder, &SERVICES, &env).unwrap();
        keys.identity(MEMBERSHIP, &env).unwrap();
    }

    #[test]
    fn rotation_publishes_new_keys_and_keeps_old_ones() {
        let (folder, env) = (tempfile::tempdir().unwrap(), Env::system());
        let folder = folder.path().join("keys");
        let open = || Keys::open_or_make(&folder, &SERVICES, &env).unwrap();
        // The id of the signing key and the ids of the published keys.
        let state = || {
            let keys = open().signing_keys(MEMBERSHIP).unwrap();
            let kids: Vec<_> = keys.iter().map(|key| key.kid.clone()).collect();
            let issuer = TokenIssuer::new(keys, "parta", TimeDelta::minutes(10), env.clone());
            let token = issuer
                .joiner(env.id(), parta_access::LinkDigest::of("link"), env.id())
                .unwrap()
                .text;
            let jwks = issuer.jwks().to_json();
            assert!(kids.iter().all(|kid| jwks.contains(kid)));
            (jsonwebtoken::decode_header(token).unwrap().kid.unwrap(), kids)
        };
        let (first, _) = state();
        assert_eq!(rotate_signing_key(&folder, &env).unwrap(), Rotation::Prepared);
        let (signs, kids) = state();
        assert_eq!((&signs, kids.len()), (&first, 2));
        let next = kids.into_iter().find(|kid| *kid != first).unwrap();
        assert_eq!(rotate_signing_key(&folder, &env).unwrap(), Rotation::Switched);
        let (signs, kids) = state();
        assert_eq!((signs, kids), (next.clone(), vec![first, next]));
    }
}
