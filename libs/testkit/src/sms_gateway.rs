//! A fake SMS gateway for tests. Its responses have the format of SMS.RU: one status for the request and one
//! for each recipient.
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::json;
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::ServerCertificate;

/// A request that the gateway received.
#[derive(Debug, Clone)]
pub struct SmsRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The path with the query.
    pub target: String,
    /// The headers with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl SmsRequest {
    /// Returns the value of a header; its name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the decoded value of a field of the query or of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').chain(self.body.split('&'));
        let mut values = pairs.filter_map(|pair| pair.split_once('='));
        values
            .find(|(own, _)| *own == name)
            .map(|(_, value)| decoded(value))
    }
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut out) = (text.bytes(), Vec::new());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                let hex = std::str::from_utf8(&hex).expect("two digits");
                u8::from_str_radix(hex, 16).expect("two digits")
            }
            other => other,
        });
    }
    String::from_utf8(out).expect("UTF-8")
}

/// The reaction of the gateway to one request.
#[derive(Debug, Clone)]
pub enum SmsReply {
    /// Accepts the message.
    Accept,
    /// Returns 200 with this code for the number.
    Number(u16),
    /// Returns 200 with this code for the request.
    Request(u16),
    /// Returns this status and a page.
    Status(u16),
    /// Reads the request and never replies.
    Hang,
    /// Reads the request and closes the connection.
    Close,
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A running gateway, which stops when it is dropped.
pub struct SmsGateway {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    _guard: DropGuard,
}

struct State {
    requests: watch::Sender<Vec<SmsRequest>>,
    replies: Mutex<VecDeque<SmsReply>>,
    /// Number of messages that [`SmsGateway::next_code`] has read, by phone.
    read: Mutex<BTreeMap<String, usize>>,
    cancel: CancellationToken,
}

impl SmsGateway {
    /// Starts a gateway without TLS.
    pub async fn start() -> Self {
        Self::serve(LOOPBACK, None).await
    }

    /// Starts a gateway that presents this certificate.
    pub async fn start_tls(server: &ServerCertificate) -> Self {
        Self::start_tls_at(server, LOOPBACK).await
    }

    /// [`SmsGateway::start_tls`] on another address of the machine, for servers in containers.
    pub async fn start_tls_at(server: &ServerCertificate, ip: IpAddr) -> Self {
        let certificate =
            CertificateDer::from_pem_slice(server.certificate.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate with its key");
        Self::serve(ip, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serve(ip: IpAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let cancel = CancellationToken::new();
        let state = Arc::new(State {
            requests: watch::Sender::default(),
            replies: Mutex::default(),
            read: Mutex::default(),
            cancel: cancel.clone(),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (tracker, shared) = (TaskTracker::new(), state.clone());
        let connections = tracker.clone();
        tracker.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = shared.cancel.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, tls.clone(), shared.clone()));
                }
            }
        });
        Self {
            address,
            scheme,
            state,
            _guard: cancel.drop_guard(),
        }
    }

    /// Returns the URL of a path, by the name `localhost`.
    pub fn url(&self, path: &str) -> String {
        self.url_by("localhost", path)
    }

    /// Returns the URL of a path, by another name of the gateway's address.
    pub fn url_by(&self, name: &str, path: &str) -> String {
        format!("{}://{name}:{}{path}", self.scheme, self.address.port())
    }

    /// Plans the reactions to the next requests. Without a plan, messages are taken.
    pub fn plan(&self, replies: impl IntoIterator<Item = SmsReply>) {
        let mut planned = self.state.replies.lock().unwrap_or_else(PoisonError::into_inner);
        planned.extend(replies);
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<SmsRequest> {
        self.state.requests.borrow().clone()
    }

    /// Waits for this number of requests since the start, and returns all.
    pub async fn received(&self, count: usize) -> Vec<SmsRequest> {
        let mut requests = self.state.requests.subscribe();
        let enough = requests.wait_for(|requests| requests.len() >= count).await;
        enough.expect("the gateway runs").clone()
    }
}

impl SmsGateway {
    /// Waits for the next code that was sent to a phone. Each message is read once.
    ///
    /// The request has the fields `to`, the digits of the phone, and `msg`.
    pub async fn next_code(&self, phone: &str) -> String {
        let digits = phone.trim_start_matches('+');
        let mut requests = self.state.requests.subscribe();
        let read = {
            let mut read = self.state.read.lock().unwrap_or_else(PoisonError::into_inner);
            let count = read.entry(digits.to_owned()).or_default();
            *count += 1;
            *count - 1
        };
        // Messages without a code are skipped.
        let code = |request: &SmsRequest| {
            let text = request.field("msg")?;
            let mut words = text.split(|c: char| !c.is_ascii_digit());
            words.rfind(|word| word.len() == 6).map(str::to_owned)
        };
        let of_phone = |requests: &Vec<SmsRequest>| {
            let own = requests
                .iter()
                .filter(|request| request.field("to").as_deref() == Some(digits));
            own.filter_map(code).nth(read)
        };
        let arrived = requests.wait_for(|requests| of_phone(requests).is_some()).await;
        of_phone(&arrived.expect("the gateway runs")).expect("a code")
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let cancel = state.cancel.clone();
    let response = async {
        match tls {
            None => exchange(stream, &state).await,
            Some(tls) => exchange(tls.accept(stream).await?, &state).await,
        }
    };
    // The result is ignored, because some tests disconnect or reject the certificate.
    tokio::select! {
        _ = response => {}
        () = cancel.cancelled() => {}
    }
}

/// Reads one request, replies to it and closes the connection.
async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = read(&mut stream).await?;
    let to = request.field("to").unwrap_or_default();
    let reply = state
        .replies
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop_front()
        .unwrap_or(SmsReply::Accept);
    state.requests.send_modify(|requests| requests.push(request));
    let of_number = |code: u16| {
        let status = if code == 100 { "OK" } else { "ERROR" };
        let sms = json!({to.as_str(): {"status": status, "status_code": code}});
        (
            200,
            json!({"status": "OK", "status_code": 100, "sms": sms}).to_string(),
        )
    };
    let (status, body) = match reply {
        SmsReply::Accept => of_number(100),
        SmsReply::Number(code) => of_number(code),
        SmsReply::Request(code) => (200, json!({"status": "ERROR", "status_code": code}).to_string()),
        SmsReply::Status(status) => (status, "<html></html>".to_owned()),
        SmsReply::Hang => std::future::pending().await,
        SmsReply::Close => return Ok(()),
    };
    let head = format!(
        "HTTP/1.1 {status} Response\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads one request.
pub(crate) async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<SmsRequest> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let first = lines.first().cloned().unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let mut request = SmsRequest {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect(),
        body: String::new(),
    };
    let length = request
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await?;
    request.body = String::from_utf8(body).expect("UTF-8");
    Ok(request)
}
