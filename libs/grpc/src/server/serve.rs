//! Serves connections.
use std::{
    convert::Infallible,
    future::pending,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt as _, future::BoxFuture};
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;

use super::{
    ServerLayers, StackService,
    connections::Admitted,
    exchange::Streams,
    sent::{SentBody, Unsent},
};
use crate::routes::Routes;

/// The begin of each connection of HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A client that does not complete the TLS handshake and send the preface within this time is disconnected.
const OPENING: Duration = Duration::from_secs(10);
/// The time that a stopping server waits for the client after the last stream has ended, so that the client
/// receives it and GOAWAY.
const LINGER: Duration = Duration::from_secs(1);

/// Options of the server.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServeOptions {
    /// The age at which a connection gets GOAWAY; its open calls and streams continue, and the client
    /// reconnects for the next call. `None`: connections have no age limit.
    pub max_connection_age: Option<Duration>,
    /// Concurrent calls and streams of one connection; clients wait with more. `None`: there is no limit.
    pub max_streams_per_connection: Option<u32>,
    /// A response of which the client takes nothing for this time is ended. `None`: a response waits for its
    /// client, which is a service in this process.
    pub stall: Option<Duration>,
}

/// An accepted connection.
pub struct Accepted<IO> {
    /// Completes the TLS handshake.
    pub handshake: BoxFuture<'static, io::Result<IO>>,
    /// Counts the connection; `None` within this process.
    pub admitted: Option<Admitted>,
}

impl<IO: Send + 'static> Accepted<IO> {
    /// Returns a connection without TLS.
    pub fn plain(io: IO, admitted: Option<Admitted>) -> Self {
        Self {
            handshake: Box::pin(std::future::ready(Ok(io))),
            admitted,
        }
    }

    pub(crate) fn local(io: IO) -> Self {
        Self::plain(io, None)
    }
}

/// Serves `routes` behind `layers` on the connections of `incoming` until `shutdown` resolves, and then until
/// the calls in flight have completed.
pub async fn serve<IO>(
    incoming: impl Stream<Item = Accepted<IO>>,
    routes: Routes,
    layers: ServerLayers,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stack = layers.around(routes);
    let (connections, stopping) = (TaskTracker::new(), CancellationToken::new());
    {
        // Dropped before the wait below, so that the listener is closed.
        let mut incoming = pin!(incoming);
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = incoming.next() => match accepted {
                    Some(accepted) => {
                        let connection = Connection {
                            stack: stack.clone(),
                            options,
                            stopping: stopping.clone(),
                        };
                        connections.spawn(connection.serve(accepted));
                    }
                    None => break,
                },
            }
        }
    }
    stopping.cancel();
    connections.close();
    connections.wait().await;
}

/// The state of the task of a connection.
struct Connection {
    stack: StackService,
    options: ServeOptions,
    stopping: CancellationToken,
}

impl Connection {
    async fn serve<IO>(self, accepted: Accepted<IO>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Accepted { handshake, admitted } = accepted;
        let Some(io) = self.open(handshake, admitted.as_ref()).await else {
            return;
        };
        let streams = Streams {
            tracker: TaskTracker::new(),
            stall: self.options.stall,
        };
        let unsent = Unsent::default();
        let stalled = async {
            match self.options.stall {
                Some(stall) => unsent.stalled(stall).await,
                None => pending().await,
            }
        };
        let mut stack = self.stack;
        stack.client = admitted.as_ref().map(|admitted| admitted.request_bytes.clone());
        stack.address = admitted.as_ref().map(|admitted| admitted.address);
        let service = ConnectionService {
            stack,
            unsent: unsent.clone(),
        };
        let connection = http2::Builder::new(streams.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.options.max_streams_per_connection)
            // Detects clients that disappeared, whose streams would otherwise stay counted.
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        let mut aged = pin!(wait(self.options.max_connection_age));
        let mut stalled = pin!(stalled);
        let (mut is_old, mut is_stopping) = (false, false);
        let mut ended = pin!(ended(streams.tracker.clone()));
        loop {
            tokio::select! {
                served = connection.as_mut() => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "connection failed");
                    }
                    return;
                }
                () = &mut aged, if !is_old => {
                    is_old = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.stopping.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                    streams.tracker.close();
                }
                // A client that does not acknowledge GOAWAY does not delay the stop.
                () = &mut ended, if is_stopping => return,
                () = &mut stalled => {
                    tracing::debug!("responses not read, connection closed");
                    return;
                }
            }
        }
    }

    /// Waits until the client has sent the preface. Returns `None` if the connection is to be closed.
    async fn open<IO>(
        &self,
        handshake: BoxFuture<'static, io::Result<IO>>,
        admitted: Option<&Admitted>,
    ) -> Option<Opened<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let opened = async {
            let mut io = handshake.await?;
            let mut preface = [0; PREFACE.len()];
            io.read_exact(&mut preface).await?;
            if preface == *PREFACE {
                Ok(Opened { io, read: 0 })
            } else {
                Err(io::Error::from(io::ErrorKind::InvalidData))
            }
        };
        let evicted = async {
            match admitted {
                Some(admitted) => admitted.closed.cancelled().await,
                None => pending().await,
            }
        };
        let opened = tokio::select! {
            opened = opened => opened,
            () = sleep(OPENING) => Err(io::ErrorKind::TimedOut.into()),
            () = evicted => Err(io::ErrorKind::ConnectionAborted.into()),
            () = self.stopping.cancelled() => return None,
        };
        if let Some(admitted) = admitted {
            admitted.opened();
        }
        // A scanner or a client that does not trust the certificate is no fault of the server.
        opened
            .inspect_err(|error| tracing::debug!(%error, "connection not opened"))
            .ok()
    }
}

async fn wait(age: Option<Duration>) {
    match age {
        Some(age) => sleep(age).await,
        None => pending().await,
    }
}

/// Resolves when no stream is left and the client had time to receive the last.
async fn ended(streams: TaskTracker) {
    loop {
        streams.wait().await;
        sleep(LINGER).await;
        if streams.is_empty() {
            return;
        }
    }
}

struct ConnectionService {
    stack: StackService,
    unsent: Unsent,
}

impl hyper::service::Service<http::Request<Incoming>> for ConnectionService {
    type Response = http::Response<SentBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let served = self.stack.serve(request.map(Body::new));
        let unsent = self.unsent.clone();
        Box::pin(async move {
            let Ok(response) = served.await;
            Ok(response.map(|body| SentBody::new(body, unsent)))
        })
    }
}

/// A connection whose preface was read: the transport reads it again.
struct Opened<IO> {
    io: IO,
    /// The bytes of the preface that the transport has read.
    read: usize,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Opened<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = PREFACE.get(self.read..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Opened<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
