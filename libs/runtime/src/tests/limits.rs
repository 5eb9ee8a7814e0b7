//! Limits of the listener, over real connections.
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Running, compose};
use parta_testkit::{Authority, logs};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::TlsConnector;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::two_services::{CHAT, Client, MEMBERSHIP, reason, settings};

async fn start(folder: &Path, keys: &[String]) -> Running {
    compose(&[MEMBERSHIP, CHAT], &settings(folder, keys))
        .await
        .unwrap()
}

/// Connects from 127.0.0.`from`.
async fn connect(from: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends the preface with empty SETTINGS, and waits for those of the server.
async fn open(connection: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    connection.write_all(preface).await.unwrap();
    let mut head = [0; 9];
    connection.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "a SETTINGS frame");
}

#[test]
fn connections_beyond_the_limit_of_a_client_are_closed() {
    parta_testkit::run(async {
        logs().allow("too many connections, closing more");
        let folder = tempfile::tempdir().unwrap();
        let running = start(folder.path(), &["server.max_connections_per_client=2".into()]).await;
        let (mut first, mut second) = (
            connect(2, running.address()).await,
            connect(2, running.address()).await,
        );
        open(&mut first).await;
        open(&mut second).await;
        let closed = connect(2, running.address()).await.read(&mut [0]).await;
        assert!(closed.as_ref().is_ok_and(|read| *read == 0), "{closed:?}");
        open(&mut connect(3, running.address()).await).await;
        running.stop().await;
    });
}

#[test]
fn silent_tls_connections_delay_neither_others_nor_the_stop() {
    parta_testkit::run(async {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let issued = authority.issue("localhost");
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let keys = [
            format!(
                "server.tls_certificate_file={}",
                file("tls.crt", &issued.certificate)
            ),
            format!("server.tls_key_file={}", file("tls.key", &issued.key)),
            "server.grace_seconds=60".into(),
        ];
        let running = start(folder.path(), &keys).await;
        let _silent = [
            connect(2, running.address()).await,
            connect(2, running.address()).await,
        ];

        let mut trusted = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(authority.certificate().as_bytes());
        trusted.add(certificate.unwrap()).unwrap();
        let mut config = ClientConfig::builder()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tls = TlsConnector::from(Arc::new(config));
        let secure = || async {
            let connection = connect(2, running.address()).await;
            tls.connect("localhost".try_into().unwrap(), connection)
                .await
                .unwrap()
        };
        let _without_preface = secure().await;
        let mut quiet = secure().await;
        open(&mut quiet).await;

        let begun = Instant::now();
        running.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    });
}

/// Watching health checks have the limit of a service.
#[test]
fn health_is_served_while_further_watches_are_refused() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let running = start(folder.path(), &["server.max_streams=1".into()]).await;
        let mut health = HealthClient::new(Client::of(&running).0);
        let request = HealthCheckRequest::default;
        let _watching = health.watch(request()).await.unwrap();
        let refused = health.watch(request()).await.unwrap_err();
        assert_eq!(reason(&refused), "OVERLOADED");
        health.check(request()).await.unwrap();
        running.stop().await;
    });
}
