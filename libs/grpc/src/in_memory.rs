//! In-memory connections: the caller gets one end of a pipe, and the other end is served like a socket.
use std::{io, task::Poll};

use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::Stream;

use crate::server::Accepted;

/// The buffer size of one direction, in bytes, before the writer waits; two HTTP/2 windows.
const PIPE: usize = 128 * 1024;

/// The connector for callers in this process. It may be used before the server runs; the first call then
/// waits.
#[derive(Clone)]
pub struct InMemoryTransport {
    connections: mpsc::Sender<DuplexStream>,
}

/// The connections to serve, for [`crate::server::serve`].
pub struct Incoming {
    connections: mpsc::Receiver<DuplexStream>,
}

impl InMemoryTransport {
    /// Returns a connector and the connections that it opens.
    #[must_use]
    pub fn pair() -> (Self, Incoming) {
        let (sender, receiver) = mpsc::channel(64);
        (
            Self { connections: sender },
            Incoming {
                connections: receiver,
            },
        )
    }

    pub(crate) async fn connect(self) -> io::Result<TokioIo<DuplexStream>> {
        let (here, there) = tokio::io::duplex(PIPE);
        let gone = |_| {
            io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "the service in this process has stopped",
            )
        };
        self.connections.send(there).await.map_err(gone)?;
        Ok(TokioIo::new(here))
    }
}

impl Stream for Incoming {
    type Item = Accepted<DuplexStream>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.connections
            .poll_recv(cx)
            .map(|connection| connection.map(Accepted::local))
    }
}
