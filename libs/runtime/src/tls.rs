//! TLS: the certificate of the listener, and the authority that clients trust.
//!
//! The files are read at the start; a file that cannot be used ends the start with an error. They are read
//! again every half minute, so that neither short-lived certificates nor a new authority needs a restart. New
//! files that cannot be used are logged, and the former ones stay. Open connections keep the certificate and
//! the authority with which they began.
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use parta_grpc::ClientBuilder;
use parta_ids::Env;
use parta_status::error_chain;
use rustls::{
    InconsistentKeys, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::ServerSettings;

/// Mounted files are replaced without a notice that all platforms give, so that they are read again this
/// often.
const PERIOD: Duration = Duration::from_secs(30);

/// The marks of an encrypted private key: PKCS#8, and the older form of OpenSSL.
const ENCRYPTED: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];

pub(crate) struct Tls {
    pub(crate) server: Option<ServerTls>,
    authority: Option<TrustedAuthority>,
}

impl Tls {
    pub(crate) fn read(settings: &ServerSettings, env: &Env) -> anyhow::Result<Self> {
        let server = match (&settings.tls_certificate_file, &settings.tls_key_file) {
            (Some(certificate), Some(key)) => Some(ServerTls::read(certificate, key, env)?),
            _ => None,
        };
        let authority = match &settings.tls_authority_file {
            Some(file) => Some(TrustedAuthority::read(file)?),
            None => None,
        };
        Ok(Self { server, authority })
    }

    pub(crate) fn client(&self, builder: ClientBuilder) -> ClientBuilder {
        match self.authority.clone() {
            Some(authority) => builder.tls(Arc::new(move || authority.get())),
            None => builder,
        }
    }

    /// Returns the tasks that read the files again until `cancel`.
    pub(crate) fn keep_current(&self, cancel: &CancellationToken) -> Vec<impl Future<Output = ()> + use<>> {
        let server = self.server.clone().map(|tls| Box::new(tls) as Box<dyn Reload>);
        let authority = self.authority.clone().map(|tls| Box::new(tls) as Box<dyn Reload>);
        let files = server.into_iter().chain(authority);
        files.map(|files| keep_current(files, cancel.clone())).collect()
    }
}

/// Files that are read again.
trait Reload: Send + Sync {
    /// The name of the content of the files, for the log.
    fn name(&self) -> &'static str;

    /// Returns the first file, for the log.
    fn file(&self) -> &Path;

    /// Reads the files and returns whether their content was replaced. After an error, the former content
    /// stays.
    fn reload(&self) -> anyhow::Result<bool>;
}

async fn keep_current(files: Box<dyn Reload>, cancel: CancellationToken) {
    let mut refused = None;
    while cancel
        .run_until_cancelled(tokio::time::sleep(PERIOD))
        .await
        .is_some()
    {
        let (name, file) = (files.name(), files.file().display());
        match files.reload() {
            Ok(true) => {
                tracing::info!(%file, "{name} replaced");
                refused = None;
            }
            Ok(false) => refused = None,
            Err(error) => {
                let error = error_chain(&*error);
                if refused.as_ref() != Some(&error) {
                    tracing::error!(error, "{name} not replaced: its files cannot be used");
                    refused = Some(error);
                }
            }
        }
    }
}

/// The authority that clients trust. Cheap to clone; clones share it.
#[derive(Clone)]
struct TrustedAuthority {
    file: PathBuf,
    pem: Arc<RwLock<Vec<u8>>>,
}

impl TrustedAuthority {
    fn read(file: &Path) -> anyhow::Result<Self> {
        let pem = Arc::new(RwLock::new(read_authority(file)?));
        let file = file.to_owned();
        Ok(Self { file, pem })
    }

    fn get(&self) -> ClientTlsConfig {
        let pem = self.pem.read().unwrap_or_else(PoisonError::into_inner);
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem.as_slice()))
    }
}

impl Reload for TrustedAuthority {
    fn name(&self) -> &'static str {
        "authority"
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn reload(&self) -> anyhow::Result<bool> {
        let new = read_authority(&self.file)?;
        let mut current = self.pem.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = *current != new;
        *current = new;
        Ok(replaced)
    }
}

/// Reads a PEM file of authorities. Fails if it has no certificate, or one that cannot be parsed: every
/// handshake would fail with it.
pub fn read_authority(file: &Path) -> anyhow::Result<Vec<u8>> {
    let pem = std::fs::read(file).with_context(|| format!("file {}", file.display()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates
        .map_err(readable)
        .with_context(|| format!("certificates in {}", file.display()))?;
    ensure!(!certificates.is_empty(), "{} has no certificate", file.display());
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        roots
            .add(certificate)
            .with_context(|| format!("certificate {} in {}", index + 1, file.display()))?;
    }
    Ok(pem)
}

/// The certificate of the listener. Cheap to clone; clones share it.
#[derive(Clone)]
pub(crate) struct ServerTls {
    certificate_file: PathBuf,
    key_file: PathBuf,
    env: Env,
    current: Arc<Current>,
}

struct Current(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

impl ServerTls {
    fn read(certificate_file: &Path, key_file: &Path, env: &Env) -> anyhow::Result<Self> {
        let current = read(certificate_file, key_file, env)?;
        Ok(Self {
            certificate_file: certificate_file.to_owned(),
            key_file: key_file.to_owned(),
            env: env.clone(),
            current: Arc::new(Current(RwLock::new(Arc::new(current)))),
        })
    }

    /// Returns an acceptor that performs the handshakes with the certificate that is current at each.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Reload for ServerTls {
    fn name(&self) -> &'static str {
        "certificate"
    }

    fn file(&self) -> &Path {
        &self.certificate_file
    }

    fn reload(&self) -> anyhow::Result<bool> {
        let new = read(&self.certificate_file, &self.key_file, &self.env)?;
        if new.cert == self.current.get().cert {
            return Ok(false);
        }
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }
}

/// Reads a certificate and its key, and refuses what no client would accept.
fn read(certificate_file: &Path, key_file: &Path, env: &Env) -> anyhow::Result<CertifiedKey> {
    let chain = CertificateDer::pem_file_iter(certificate_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(readable)
        .with_context(|| format!("certificates in {}", certificate_file.display()))?;
    let mut validities = Vec::new();
    for (index, certificate) in chain.iter().enumerate() {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .with_context(|| format!("certificate {} in {}", index + 1, certificate_file.display()))?;
        validities.push(parsed.validity().clone());
    }
    let validity = validities
        .first()
        .with_context(|| format!("{} has no certificate", certificate_file.display()))?;
    let now = env.now().timestamp();
    ensure!(
        now <= validity.not_after.timestamp(),
        "the certificate in {} has expired at {}",
        certificate_file.display(),
        validity.not_after
    );
    ensure!(
        now >= validity.not_before.timestamp(),
        "the certificate in {} is not valid before {}",
        certificate_file.display(),
        validity.not_before
    );
    let key = read_key(key_file)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider
        .key_provider
        .load_private_key(key)
        .with_context(|| format!("the private key in {} cannot be used", key_file.display()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Not every kind of key can be compared.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(error).with_context(|| {
            format!(
                "the key in {} is not that of the certificate in {}",
                key_file.display(),
                certificate_file.display()
            )
        }),
    }
}

/// Reads a private key. An encrypted one has a message of its own: the PEM parser passes it over, or calls
/// its header wrong base64.
fn read_key(file: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let location = || format!("the private key in {}", file.display());
    let text = std::fs::read(file).with_context(location)?;
    let contains = |mark: &str| text.windows(mark.len()).any(|part| part == mark.as_bytes());
    ensure!(
        !ENCRYPTED.iter().any(|mark| contains(mark)),
        "{} is encrypted: store it without a passphrase, for example as `openssl pkey` prints it",
        location()
    );
    match PrivateKeyDer::from_pem_slice(&text) {
        Err(pem::Error::NoItemsFound) => bail!("{} has no private key in PEM", file.display()),
        read => read.map_err(readable).with_context(location),
    }
}

/// The error of the PEM parser, with texts in place of lists of bytes.
fn readable(error: pem::Error) -> anyhow::Error {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            anyhow!(
                "the line -----END {}----- is missing",
                String::from_utf8_lossy(&end_marker)
            )
        }
        pem::Error::IllegalSectionStart { .. } => anyhow!("a line that begins with -----BEGIN has no end"),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests;
