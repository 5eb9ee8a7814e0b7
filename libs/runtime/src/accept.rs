//! Accepting connections: the pause after an error of the listener, and the limit of unfinished TLS
//! handshakes of one client.
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use tokio::time::Instant;

/// Between two attempts to accept after an error of the listener. Such an error lasts, for example while the
/// process has no free file descriptor, and without a pause the attempts would take a whole CPU.
const PAUSE: Duration = Duration::from_secs(1);
/// Most unfinished handshakes of one client: one sixteenth of all. Clients behind one address share it: a
/// school of 1,000 people may reconnect at the same moment.
pub(crate) const HANDSHAKES_PER_CLIENT: usize = 1_024;
/// Between two log lines about clients that reached the limit.
const REPORT: Duration = Duration::from_mins(1);

/// Returns the connections without the errors. An error of one connection is skipped. After an error of the
/// listener, the next attempt waits.
pub(crate) fn connections<T: Send>(
    incoming: impl Stream<Item = io::Result<T>> + Send,
) -> impl Stream<Item = io::Result<T>> + Send {
    incoming.filter_map(|accepted| async move {
        match accepted {
            Ok(connection) => return Some(Ok(connection)),
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

/// The unfinished handshakes of each client. Cheap to clone; clones share the counts.
#[derive(Clone)]
pub(crate) struct Handshakes {
    per_client: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    counts: HashMap<IpAddr, usize>,
    /// The time of the last log line about the limit.
    reported: Option<Instant>,
}

impl Handshakes {
    /// Allows `per_client` unfinished handshakes of one client.
    pub(crate) fn new(per_client: usize) -> Self {
        Self {
            per_client,
            state: Arc::default(),
        }
    }

    /// Counts a handshake of the client with this address until the result is dropped. Returns `None` if the
    /// client has reached the limit.
    pub(crate) fn begin(&self, address: IpAddr) -> Option<Handshake> {
        let client = client(address);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = state.counts.entry(client).or_default();
        if *count >= self.per_client {
            if state.reported.is_none_or(|time| time.elapsed() >= REPORT) {
                state.reported = Some(Instant::now());
                // The address is personal data.
                let limit = self.per_client;
                tracing::warn!(
                    limit,
                    "too many unfinished TLS handshakes of one address, closing more"
                );
            }
            return None;
        }
        *count += 1;
        Some(Handshake {
            client,
            state: self.state.clone(),
        })
    }
}

/// Counts as an unfinished handshake until it is dropped.
pub(crate) struct Handshake {
    client: IpAddr,
    state: Arc<Mutex<State>>,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = state.counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                state.counts.remove(&self.client);
            }
        }
    }
}

/// Returns an IPv4 address unchanged, and the /64 network of an IPv6 address, because a host can use all
/// addresses of its network.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use parta_testkit::{logs, run_paused};

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
                .map(|connection| (connection.unwrap(), start.elapsed()))
                .collect()
                .await;
            assert_eq!(accepted, [(1, 2 * PAUSE), (2, 2 * PAUSE)]);
            assert_eq!(logs().lines().len(), 2);
        });
    }

    #[test]
    fn unfinished_handshakes_are_limited_per_client() {
        run_paused(async {
            logs().allow("too many unfinished TLS handshakes");
            let handshakes = Handshakes::new(2);
            let begin = |address: &str| handshakes.begin(address.parse().unwrap());
            for (first, same, other) in [
                ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
                ("2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"),
            ] {
                let held = [begin(first).unwrap(), begin(same).unwrap()];
                assert!(begin(first).is_none());
                assert!(begin(same).is_none());
                assert!(begin(other).is_some());
                drop(held);
                assert!(begin(first).is_some());
            }
            assert_eq!(logs().lines().len(), 1, "one line a minute");
            assert!(handshakes.state.lock().unwrap().counts.is_empty());
            let _held = [begin("192.0.2.1"), begin("192.0.2.1")];
            tokio::time::advance(REPORT).await;
            assert!(begin("192.0.2.1").is_none());
            assert_eq!(logs().lines().len(), 2);
        });
    }
}
