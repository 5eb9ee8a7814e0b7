//! A server over in-memory connections with addresses, and a client that controls HTTP/2 itself.
use std::{future::poll_fn, io};

use crate::server::{Accepted, Connections, ServeOptions, serve};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use parta_status::RpcError;
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use super::super::test_env::{Note, TestEnv, reason};
use crate::status_headers::received_status;

/// The way in which a call ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    Ok,
    Refused(String),
    Reset,
}

pub struct RawServer {
    connections: Connections,
    incoming: mpsc::UnboundedSender<Accepted<DuplexStream>>,
    stop: CancellationToken,
    server: TaskTracker,
    clients: TaskTracker,
}

impl RawServer {
    pub fn start(test_env: &TestEnv, options: ServeOptions, connections: Connections) -> Self {
        let (incoming, accepted) = mpsc::unbounded_channel();
        let (stop, server) = (CancellationToken::new(), TaskTracker::new());
        let (routes, layers) = test_env.served();
        let stopped = stop.clone().cancelled_owned();
        server.spawn(serve(
            UnboundedReceiverStream::new(accepted),
            routes,
            layers,
            options,
            stopped,
        ));
        Self {
            connections,
            incoming,
            stop,
            server,
            clients: TaskTracker::new(),
        }
    }

    /// Opens a connection from this address; `None` if it is closed at once.
    pub fn open(&self, address: &str) -> Option<DuplexStream> {
        let admitted = self.connections.admit(address.parse().unwrap())?;
        let (here, there) = tokio::io::duplex(64 * 1024);
        self.incoming
            .send(Accepted::plain(there, Some(admitted)))
            .unwrap();
        Some(here)
    }

    pub async fn connect(&self, address: &str) -> RawClient {
        self.connect_with_window(address, 1_024 * 1_024).await
    }

    /// Connects a client that reads at most these bytes of each response.
    pub async fn connect_with_window(&self, address: &str, window: u32) -> RawClient {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(window)
            .initial_connection_window_size(1_024 * 1_024);
        let connection = self.open(address).unwrap();
        let (requests, connection) = builder.handshake::<_, Bytes>(connection).await.unwrap();
        let (ended, closed) = watch::channel(());
        let disconnect = CancellationToken::new();
        let disconnected = disconnect.clone();
        self.clients.spawn(async move {
            let _result = disconnected.run_until_cancelled(connection).await;
            drop(ended);
        });
        RawClient {
            requests,
            closed,
            disconnect,
        }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.server.close();
        self.server.wait().await;
    }
}

pub struct RawClient {
    requests: SendRequest<Bytes>,
    closed: watch::Receiver<()>,
    disconnect: CancellationToken,
}

impl RawClient {
    /// Sends the head of a call.
    pub async fn begin(&self, path: &str, token: Option<&str>) -> RawCall {
        let mut request = http::Request::post(format!("http://server{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, sender) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        RawCall {
            sender,
            response: Some(response),
            body: None,
        }
    }

    /// Sends a request with a message and this media type, and returns the HTTP status of the response.
    pub async fn post(&self, path: &str, token: &str, content_type: Option<&str>) -> u16 {
        let mut request = http::Request::post(format!("http://server{path}"))
            .header("te", "trailers")
            .header("authorization", format!("Bearer {token}"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, mut sender) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        sender.send_data(encode("short"), true).unwrap();
        response.await.unwrap().status().as_u16()
    }

    /// Calls, and reads the whole response.
    pub async fn call(&self, path: &str, token: &str) -> Ending {
        let mut call = self.begin(path, Some(token)).await;
        call.send_last("short");
        call.end().await
    }

    /// Whether a new call can begin; not after GOAWAY.
    pub async fn accepts_calls(&self) -> bool {
        self.requests.clone().ready().await.is_ok()
    }

    /// Returns the limit of concurrent streams that the server has set.
    pub fn max_streams(&self) -> usize {
        self.requests.current_max_send_streams()
    }

    /// Closes the connection as a killed process does: without a word about the streams.
    pub fn disconnect(&self) {
        self.disconnect.cancel();
    }

    /// Waits until the connection is closed.
    pub async fn closed(&self) {
        let _closed = self.closed.clone().changed().await;
    }
}

pub struct RawCall {
    sender: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    body: Option<http::Response<RecvStream>>,
}

impl RawCall {
    /// Sends a message.
    pub fn send(&mut self, text: &str) {
        self.sender.send_data(encode(text), false).unwrap();
    }

    /// Sends the last message.
    pub fn send_last(&mut self, text: &str) {
        self.sender.send_data(encode(text), true).unwrap();
    }

    /// Sends a part of a message.
    pub fn send_partly(&mut self) {
        self.sender.send_data(encode("half").slice(..7), false).unwrap();
    }

    pub fn cancel(&mut self) {
        self.sender.send_reset(h2::Reason::CANCEL);
    }

    /// Waits for the head of the response.
    pub async fn head(&mut self) {
        self.body = Some(self.response.take().unwrap().await.unwrap());
    }

    /// Reads the response, if the client has space, until it ends.
    pub async fn end(&mut self) -> Ending {
        if self.body.is_none() {
            match self.response.take().unwrap().await {
                Ok(response) => self.body = Some(response),
                Err(_) => return Ending::Reset,
            }
        }
        let (head, mut body) = self.body.take().unwrap().into_parts();
        if let Some(status) = received_status(&head.headers) {
            return ending(&status);
        }
        while let Some(data) = body.data().await {
            let Ok(data) = data else {
                return Ending::Reset;
            };
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        match poll_fn(|cx| body.poll_trailers(cx)).await {
            Ok(Some(trailers)) => ending(&received_status(&trailers).unwrap()),
            Ok(None) | Err(_) => Ending::Reset,
        }
    }
}

fn ending(status: &Status) -> Ending {
    if status.code() == tonic::Code::Ok {
        return Ending::Ok;
    }
    if status.code() == tonic::Code::ResourceExhausted {
        assert!(RpcError::from_status(status).unwrap().retry_delay().is_some());
    }
    Ending::Refused(reason(status))
}

fn encode(text: &str) -> Bytes {
    let message = Note { text: text.into() }.encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len().try_into().unwrap());
    frame.extend_from_slice(&message);
    frame.freeze()
}

pub async fn send(connection: &mut DuplexStream, text: &str) {
    connection.write_all(text.as_bytes()).await.unwrap();
}

/// Sends the preface and an empty SETTINGS frame.
pub async fn send_preface(connection: &mut DuplexStream) {
    send(connection, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    connection.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    // The SETTINGS of the server have arrived.
    connection.read_exact(&mut [0; 9]).await.unwrap();
}

/// Reads until the server has closed the connection.
pub async fn closed(connection: &mut DuplexStream) {
    let read: io::Result<usize> = connection.read_to_end(&mut Vec::new()).await;
    let _ended = read;
}
