//! Accepting connections: the pause after an error of the listener, and the limits of one client.
use std::{future::ready, io, net::SocketAddr, time::Duration};

use futures::{Stream, StreamExt as _};
use parta_grpc::server::{Admitted, Connections};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Between two attempts to accept after an error of the listener. Such an error lasts, for example while the
/// process has no free file descriptor, and without a pause the attempts would take a whole CPU.
const PAUSE: Duration = Duration::from_secs(1);

/// Maximum number of connections that wait to be accepted. The system may lower it (Linux: somaxconn, 4,096).
/// After a restart all clients reconnect at once, and connections beyond this limit are refused.
const BACKLOG: u32 = 16_384;

/// Listens on an address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Set as in tokio's listeners: a restart does not wait for connections in TIME_WAIT. On Windows, the
    // option would allow several listeners on one port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Returns the connections without the errors. An error of one connection is skipped. After an error of the
/// listener, the next attempt waits.
pub(crate) fn connections<T: Send>(
    incoming: impl Stream<Item = io::Result<T>> + Send,
) -> impl Stream<Item = T> + Send {
    incoming.filter_map(|accepted| async move {
        match accepted {
            Ok(connection) => return Some(connection),
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "connection ended before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections, will try again");
                tokio::time::sleep(PAUSE).await;
            }
        }
        None
    })
}

/// Whether the next connection can be accepted at once. On Linux, accepting returns the errors of the network
/// that the connection had.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | ConnectionRefused
            | BrokenPipe
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
            | TimedOut
            | Interrupted
    )
}

/// Counts each connection by the address of its client, and closes those beyond the limits.
pub(crate) fn admitted(
    incoming: impl Stream<Item = TcpStream> + Send,
    connections: Connections,
) -> impl Stream<Item = (TcpStream, Admitted)> + Send {
    incoming.filter_map(move |connection| {
        let client = connection.peer_addr().ok();
        let admitted = client.and_then(|client| connections.admit(client.ip()));
        ready(admitted.map(|admitted| (connection, admitted)))
    })
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use parta_testkit::{logs, run_paused};
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn only_an_error_of_the_listener_pauses_accepting() {
        run_paused(async {
            logs().allow("cannot accept connections");
            let no_descriptor = || Err(io::Error::other("no free file descriptor"));
            let incoming = stream::iter([
                no_descriptor(),
                Err(io::ErrorKind::ConnectionAborted.into()),
                Err(io::ErrorKind::ConnectionReset.into()),
                no_descriptor(),
                Ok(1),
                Err(io::ErrorKind::HostUnreachable.into()),
                Ok(2),
            ]);
            let start = Instant::now();
            let accepted: Vec<_> = connections(incoming)
                .map(|connection| (connection, start.elapsed()))
                .collect()
                .await;
            assert_eq!(accepted, [(1, 2 * PAUSE), (2, 2 * PAUSE)]);
            assert_eq!(logs().lines().len(), 2);
        });
    }
}
