//! TLS: the certificate of the listener, and the authority that clients trust.
//!
//! The files are read at the start; what cannot be used ends the start with an error. The certificate and its
//! key are read again every half minute, so that an authority that issues short-lived certificates needs no
//! restart. New files that cannot be used are logged, and the former certificate stays.
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::{Stream, StreamExt as _};
use parta_grpc::ClientBuilder;
use parta_ids::Env;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    accept::{HANDSHAKES_PER_CLIENT, Handshakes},
    config::ServerSettings,
};

/// Mounted files are replaced without a notice that all platforms give, so that they are read again this
/// often.
const PERIOD: Duration = Duration::from_secs(30);
/// A client that does not complete the handshake within this time is disconnected.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most handshakes at once. It is the number of connections that may wait to be accepted. One client can have
/// [`HANDSHAKES_PER_CLIENT`] of them.
const HANDSHAKES: usize = 16_384;

/// The TLS of a process.
pub(crate) struct Tls {
    pub(crate) server: Option<ServerTls>,
    client: Option<ClientTlsConfig>,
}

impl Tls {
    pub(crate) fn read(settings: &ServerSettings, env: &Env) -> anyhow::Result<Self> {
        let server = match (&settings.tls_certificate_file, &settings.tls_key_file) {
            (Some(certificate), Some(key)) => Some(ServerTls::read(certificate, key, env)?),
            _ => None,
        };
        let client = match &settings.tls_authority_file {
            Some(file) => Some(authority(file)?),
            None => None,
        };
        Ok(Self { server, client })
    }

    pub(crate) fn client(&self, builder: ClientBuilder) -> ClientBuilder {
        match &self.client {
            Some(tls) => builder.tls(tls.clone()),
            None => builder,
        }
    }
}

fn authority(file: &Path) -> anyhow::Result<ClientTlsConfig> {
    let pem = std::fs::read(file).with_context(|| format!("file {}", file.display()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.with_context(|| format!("certificates in {}", file.display()))?;
    ensure!(!certificates.is_empty(), "{} has no certificate", file.display());
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
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

    /// Reads the files again until `cancel`.
    pub(crate) async fn keep_current(self, cancel: CancellationToken) {
        let mut refused = None;
        while cancel
            .run_until_cancelled(tokio::time::sleep(PERIOD))
            .await
            .is_some()
        {
            match self.reload() {
                Ok(true) => {
                    tracing::info!(file = %self.certificate_file.display(), "certificate replaced");
                    refused = None;
                }
                Ok(false) => refused = None,
                Err(error) => {
                    let error = format!("{error:#}");
                    if refused.as_ref() != Some(&error) {
                        tracing::error!(error, "certificate not replaced: its files cannot be used");
                        refused = Some(error);
                    }
                }
            }
        }
    }

    /// Reads the files and returns whether the certificate was replaced. After an error, the former
    /// certificate stays.
    fn reload(&self) -> anyhow::Result<bool> {
        let new = read(&self.certificate_file, &self.key_file, &self.env)?;
        if new.cert == self.current.get().cert {
            return Ok(false);
        }
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }

    /// Performs the handshake of each connection. Drops connections whose handshake fails, and those of a
    /// client that has too many unfinished handshakes.
    pub(crate) fn accept(
        &self,
        connections: impl Stream<Item = io::Result<TcpStream>> + Send,
    ) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> + Send {
        self.accept_within(Handshakes::new(HANDSHAKES_PER_CLIENT), connections)
    }

    fn accept_within(
        &self,
        unfinished: Handshakes,
        connections: impl Stream<Item = io::Result<TcpStream>> + Send,
    ) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> + Send {
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let begun = connections.filter_map(move |connection| {
            let begun = connection.and_then(|connection| {
                let address = connection.peer_addr()?.ip();
                Ok(unfinished.begin(address).map(|begun| (connection, begun)))
            });
            std::future::ready(begun.transpose())
        });
        let handshakes = begun.map(move |begun| {
            let acceptor = acceptor.clone();
            async move {
                let (connection, _unfinished) = begun?;
                let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(connection));
                handshake.await.map_err(|_| io::ErrorKind::TimedOut)?
            }
        });
        handshakes
            .buffer_unordered(HANDSHAKES)
            .filter_map(|accepted| async {
                // A scanner or a client that does not trust the certificate is no fault of the server.
                accepted
                    .inspect_err(|error| tracing::debug!(%error, "TLS handshake failed"))
                    .ok()
                    .map(Ok)
            })
    }
}

/// Reads a certificate and its key, and refuses what no client would accept.
fn read(certificate_file: &Path, key_file: &Path, env: &Env) -> anyhow::Result<CertifiedKey> {
    let chain = CertificateDer::pem_file_iter(certificate_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("certificates in {}", certificate_file.display()))?;
    let first = chain
        .first()
        .with_context(|| format!("{} has no certificate", certificate_file.display()))?;
    let (_, parsed) = X509Certificate::from_der(first)
        .with_context(|| format!("the first certificate in {}", certificate_file.display()))?;
    let (validity, now) = (parsed.validity(), env.now().timestamp());
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
    let key = PrivateKeyDer::from_pem_file(key_file)
        .with_context(|| format!("the private key in {}", key_file.display()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).with_context(|| {
        format!(
            "the key in {} is not that of the certificate in {}",
            key_file.display(),
            certificate_file.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use parta_ids::ManualClock;
    use parta_testkit::{Authority, logs, run};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpSocket},
    };
    use tokio_rustls::TlsConnector;
    use tonic::transport::server::TcpIncoming;

    use super::*;

    struct Files {
        folder: tempfile::TempDir,
        env: Env,
        clock: Arc<ManualClock>,
    }

    impl Files {
        fn new() -> Self {
            crate::use_one_tls_provider();
            let clock = Arc::new(ManualClock::new(Env::system().now()));
            let env = Env {
                clock: clock.clone(),
                ..Env::system()
            };
            let folder = tempfile::tempdir().unwrap();
            Self { folder, env, clock }
        }

        fn write(&self, certificate: &str, key: &str) -> (PathBuf, PathBuf) {
            let (first, second) = (
                self.folder.path().join("tls.crt"),
                self.folder.path().join("tls.key"),
            );
            std::fs::write(&first, certificate).unwrap();
            std::fs::write(&second, key).unwrap();
            (first, second)
        }

        fn refusal(&self, certificate: &str, key: &str) -> String {
            let (certificate, key) = self.write(certificate, key);
            format!(
                "{:#}",
                ServerTls::read(&certificate, &key, &self.env).err().unwrap()
            )
        }
    }

    #[test]
    fn unusable_files_are_refused() {
        let (files, authority) = (Files::new(), Authority::new());
        let (one, other) = (authority.issue("localhost"), authority.issue("localhost"));
        for (certificate, key, expected) in [
            ("", one.key.as_str(), "has no certificate"),
            (one.certificate.as_str(), "", "the private key in"),
            (
                one.certificate.as_str(),
                other.key.as_str(),
                "is not that of the certificate",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                one.key.as_str(),
                "the first certificate in",
            ),
        ] {
            let text = files.refusal(certificate, key);
            assert!(text.contains(expected), "{text}");
        }
        let nowhere = files.folder.path().join("nowhere");
        let missing = ServerTls::read(&nowhere, &nowhere, &files.env).err().unwrap();
        assert!(format!("{missing:#}").contains("nowhere"), "{missing:#}");
        let empty = files.folder.path().join("empty.crt");
        std::fs::write(&empty, "").unwrap();
        assert!(authority_error(&empty).contains("has no certificate"));
    }

    fn authority_error(file: &Path) -> String {
        authority(file).err().unwrap().to_string()
    }

    #[test]
    fn certificate_is_refused_outside_its_validity() {
        let (files, authority) = (Files::new(), Authority::new());
        let issued = authority.issue("localhost");
        files.clock.set("1970-01-01T00:00:00Z".parse().unwrap());
        let text = files.refusal(&issued.certificate, &issued.key);
        assert!(text.contains("is not valid before"), "{text}");
        files.clock.set("9000-01-01T00:00:00Z".parse().unwrap());
        let text = files.refusal(&issued.certificate, &issued.key);
        assert!(text.contains("has expired"), "{text}");
    }

    #[test]
    fn replaced_certificate_is_used_and_an_unusable_one_is_not() {
        let (files, authority) = (Files::new(), Authority::new());
        let (first, second) = (authority.issue("localhost"), authority.issue("localhost"));
        let (certificate_file, key_file) = files.write(&first.certificate, &first.key);
        let tls = ServerTls::read(&certificate_file, &key_file, &files.env).unwrap();
        assert!(!tls.reload().unwrap());
        let before = tls.current.get().cert.clone();
        files.write(&second.certificate, &first.key);
        tls.reload().unwrap_err();
        assert_eq!(tls.current.get().cert, before);
        files.write(&second.certificate, &second.key);
        assert!(tls.reload().unwrap());
        assert_ne!(tls.current.get().cert, before);
    }

    /// Connects from an address of this machine.
    async fn connect(from: [u8; 4], to: std::net::SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    #[test]
    fn client_with_too_many_unfinished_handshakes_does_not_keep_others_out() {
        run(async {
            logs().allow("too many unfinished TLS handshakes");
            let (files, authority) = (Files::new(), Authority::new());
            let issued = authority.issue("localhost");
            let (certificate, key) = files.write(&issued.certificate, &issued.key);
            let tls = ServerTls::read(&certificate, &key, &files.env).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let accepted = tls.accept_within(Handshakes::new(2), TcpIncoming::from(listener));
            let clients = async {
                let (one, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
                // The handshakes of these never begin.
                let idle = [connect(one, address).await, connect(one, address).await];
                let closed = connect(one, address).await.read(&mut [0]).await;
                assert!(
                    closed.is_ok_and(|read| read == 0),
                    "the server closed the connection"
                );
                for connection in &idle {
                    let read = connection.try_read(&mut [0]);
                    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock, "still open");
                }
                let mut trusted = RootCertStore::empty();
                trusted
                    .add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap())
                    .unwrap();
                let config = ClientConfig::builder()
                    .with_root_certificates(trusted)
                    .with_no_client_auth();
                let stream = connect(other, address).await;
                let connector = TlsConnector::from(Arc::new(config));
                connector
                    .connect("localhost".try_into().unwrap(), stream)
                    .await
                    .unwrap()
            };
            let mut accepted = std::pin::pin!(accepted);
            let (first, _connected) = tokio::join!(accepted.next(), clients);
            assert_eq!(
                first.unwrap().unwrap().get_ref().0.peer_addr().unwrap().ip(),
                std::net::Ipv4Addr::new(127, 0, 0, 2)
            );
        });
    }
}
