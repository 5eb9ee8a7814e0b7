//! The client of HTTP servers of others: gateways of SMS and media servers.
//!
//! A request has a time limit and a response a longest body, so that a server that stalls or sends without
//! end costs one job, and no more. An error is one of a few names: its text could contain the URL, in which
//! there may be a secret or a person's number.
#![warn(missing_docs)]

use std::{error::Error as _, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// The longest body of a response that is read, unless a client accepts longer ones.
const BODY_MAX: usize = 64 * 1024;

/// The failure of an exchange. Another attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No connection: an unknown host, or nobody listens.
    #[error("unreachable")]
    Unreachable,
    /// The certificate is not trusted, or TLS failed in another way.
    #[error("tls")]
    Tls,
    /// The connection ended before the response.
    #[error("connection_lost")]
    ConnectionLost,
    /// The response ended early, or is longer than the client accepts.
    #[error("response_broken")]
    ResponseBroken,
    /// There was no response in time.
    #[error("timeout")]
    Timeout,
}

/// A client with its connections, which requests to one server share.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    body_max: usize,
}

impl HttpClient {
    /// Returns a client whose exchanges take at most `timeout`, with responses of up to 64 KiB. It trusts the
    /// bundled authorities, those of the system and those of the file. An image without a system has the
    /// bundled ones only. Fails if the file cannot be used.
    pub fn new(timeout: Duration, authorities: Option<&Path>) -> anyhow::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(authorities)?)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            timeout,
            body_max: BODY_MAX,
        })
    }

    /// Accepts responses of up to `bytes` bytes.
    #[must_use]
    pub fn longest_response(mut self, bytes: usize) -> Self {
        self.body_max = bytes;
        self
    }

    /// Sends a request, and returns the status and the body of the response.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), HttpError> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| connection(&e))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), self.body_max).collect().await;
            let body = body.map_err(|_| HttpError::ResponseBroken)?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or(Err(HttpError::Timeout))
    }
}

/// Whether secrets in a request to this address cross no network in clear text: `https`, or `http` on a
/// loopback address. A password belongs into a header, so that an address with one is not safe.
pub fn is_safe(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = || {
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    };
    let has_no_password = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    has_no_password
        && match uri.scheme_str() {
            Some("https") => !host.is_empty(),
            Some("http") => is_loopback(),
            _ => false,
        }
}

/// Names the failure of a connection.
fn connection(error: &hyper_util::client::legacy::Error) -> HttpError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<rustls::Error>() {
            return HttpError::Tls;
        }
        // The source of an I/O error is the source of the error that it wraps, not that error.
        let wrapped = inner.downcast_ref::<std::io::Error>();
        cause = match wrapped.and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    if error.is_connect() {
        HttpError::Unreachable
    } else {
        HttpError::ConnectionLost
    }
}

fn tls(authorities: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = authorities {
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
        anyhow::ensure!(roots.len() > before, "no certificate");
    }
    // Several providers are linked, so that rustls cannot choose one.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
