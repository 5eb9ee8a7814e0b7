use std::{future::Future, io, time::Duration};

use tokio_stream::Stream;
use tonic::transport::{Server, server::Connected};

use super::ServerLayers;
use crate::routes::Routes;

/// Options of the server.
#[derive(Default)]
pub struct ServeOptions {
    /// The age at which a connection gets GOAWAY; its open calls and streams go on, and the client reconnects
    /// for the next call. `None`: connections have no age limit.
    pub max_connection_age: Option<Duration>,
}

/// Serves `routes` behind `layers` on the connections of `incoming` until `shutdown` resolves, and then until
/// the calls in flight have completed.
pub async fn serve<I, IO>(
    incoming: I,
    routes: Routes,
    layers: ServerLayers,
    options: ServeOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error>
where
    I: Stream<Item = io::Result<IO>> + Send,
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected + Unpin + Send + 'static,
    IO::ConnectInfo: Clone + Send + Sync + 'static,
{
    let mut server = Server::builder()
        .tcp_nodelay(true)
        // Detects clients that disappeared, whose streams would otherwise stay counted.
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)));
    if let Some(age) = options.max_connection_age {
        server = server.max_connection_age(age);
    }
    server
        .serve_with_incoming_shutdown(layers.around(routes), incoming, shutdown)
        .await
}
