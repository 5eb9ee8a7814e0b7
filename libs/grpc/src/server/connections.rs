//! The connections of a listener, counted by client, and the bytes of requests that they are sending.
use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections of one client that the last sixteenth of all is for. A health check is such a client.
const FEW: usize = 8;
/// Between two log lines about connections that were refused.
const REPORT: Duration = Duration::from_mins(1);

/// Limits of the connections of a listener. A client is an IPv4 address, or the /64 network of an IPv6
/// address, because a host can use all addresses of its network. Clients behind one address share its limits.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections of all clients. The clients of one IPv4 /24 or IPv6 /48 network have at most half.
    pub total: usize,
    /// Connections of one client.
    pub per_client: usize,
    /// Connections of one client that are not open yet: the TLS handshake or the HTTP/2 preface is missing.
    /// One more closes the oldest of them.
    pub opening_per_client: usize,
    /// Bytes of the requests that are being received. One client has at most three quarters.
    pub request_bytes: u64,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 16_384,
            per_client: 4_096,
            opening_per_client: 1_024,
            request_bytes: 128 * 1024 * 1024,
        }
    }
}

/// The connections of a listener. Cheap to clone; clones share the counts.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    limits: ConnectionLimits,
    received: Arc<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    total: usize,
    networks: HashMap<IpAddr, usize>,
    clients: HashMap<IpAddr, Client>,
    /// The number of the next connection.
    next: u64,
    /// The time of the last log line about the limits.
    reported: Option<Instant>,
}

struct Client {
    connections: usize,
    /// The connections that are not open yet, the oldest first.
    opening: VecDeque<(u64, CancellationToken)>,
    request_bytes: Arc<RequestBytes>,
}

impl Connections {
    /// Returns no connections with these limits.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Self {
        Self(Arc::new(Shared {
            limits,
            received: Arc::default(),
            state: Mutex::default(),
        }))
    }

    /// Counts a connection of the client with this address until the result is dropped. Returns `None` if a
    /// limit is reached.
    pub fn admit(&self, address: IpAddr) -> Option<Admitted> {
        let limits = &self.0.limits;
        let (client, network) = (client(address), network(address));
        let mut state = self.0.lock();
        let of_client = state.clients.get(&client).map_or(0, |c| c.connections);
        let of_network = state.networks.get(&network).copied().unwrap_or(0);
        let reserved = if of_client < FEW { 0 } else { limits.total / 16 };
        let limit = if of_client >= limits.per_client {
            "one address"
        } else if of_network >= limits.total.div_ceil(2) {
            "one network"
        } else if state.total >= limits.total - reserved {
            "all clients"
        } else {
            return Some(self.counted(&mut state, address, client, network));
        };
        if state.reported.is_none_or(|time| time.elapsed() >= REPORT) {
            state.reported = Some(Instant::now());
            // The address is personal data.
            tracing::warn!(limit, "too many connections, closing more");
        }
        None
    }

    fn counted(&self, state: &mut State, address: IpAddr, client: IpAddr, network: IpAddr) -> Admitted {
        let limits = &self.0.limits;
        state.total += 1;
        *state.networks.entry(network).or_default() += 1;
        let number = state.next;
        state.next += 1;
        let entry = state.clients.entry(client).or_insert_with(|| Client {
            connections: 0,
            opening: VecDeque::new(),
            request_bytes: Arc::new(RequestBytes {
                client: AtomicU64::new(0),
                client_limit: limits.request_bytes / 4 * 3,
                all: self.0.received.clone(),
                all_limit: limits.request_bytes,
            }),
        });
        entry.connections += 1;
        let closed = CancellationToken::new();
        entry.opening.push_back((number, closed.clone()));
        // The client that is slow to open many connections harms its own, and none of those behind the same
        // address that open theirs within a few round trips.
        if entry.opening.len() > limits.opening_per_client
            && let Some((_, oldest)) = entry.opening.pop_front()
        {
            oldest.cancel();
        }
        Admitted {
            request_bytes: entry.request_bytes.clone(),
            closed,
            address,
            shared: self.0.clone(),
            client,
            network,
            number,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn opened(&mut self, client: IpAddr, number: u64) {
        if let Some(client) = self.clients.get_mut(&client)
            && let Ok(index) = client
                .opening
                .binary_search_by_key(&number, |(number, _)| *number)
        {
            client.opening.remove(index);
        }
    }
}

/// A connection that is counted until it is dropped.
pub struct Admitted {
    pub(crate) request_bytes: Arc<RequestBytes>,
    /// Canceled if the connection must close because its client opens too many others.
    pub(crate) closed: CancellationToken,
    /// The address of the client.
    pub(crate) address: IpAddr,
    shared: Arc<Shared>,
    client: IpAddr,
    network: IpAddr,
    number: u64,
}

impl Admitted {
    /// Counts the connection as open.
    pub(crate) fn opened(&self) {
        self.shared.lock().opened(self.client, self.number);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.opened(self.client, self.number);
        state.total -= 1;
        if let Some(count) = state.networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                state.networks.remove(&self.network);
            }
        }
        if let Some(client) = state.clients.get_mut(&self.client) {
            client.connections -= 1;
            if client.connections == 0 {
                state.clients.remove(&self.client);
            }
        }
    }
}

/// The bytes of the requests of one client that are being received, and those of all.
pub(crate) struct RequestBytes {
    client: AtomicU64,
    client_limit: u64,
    all: Arc<AtomicU64>,
    all_limit: u64,
}

impl RequestBytes {
    /// Counts bytes. Returns false, and counts nothing, if a limit would be exceeded.
    pub(crate) fn reserve(&self, bytes: u64) -> bool {
        if !add(&self.client, bytes, self.client_limit) {
            return false;
        }
        let reserved = add(&self.all, bytes, self.all_limit);
        if !reserved {
            self.client.fetch_sub(bytes, Ordering::Relaxed);
        }
        reserved
    }

    /// Returns reserved bytes.
    pub(crate) fn release(&self, bytes: u64) {
        self.client.fetch_sub(bytes, Ordering::Relaxed);
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn add(counter: &AtomicU64, bytes: u64, limit: u64) -> bool {
    let added = |count: u64| count.checked_add(bytes).filter(|sum| *sum <= limit);
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, added)
        .is_ok()
}

/// Returns an IPv4 address unchanged, and the /64 network of an IPv6 address.
pub(crate) fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => prefix(address, 64),
        address => address,
    }
}

/// Returns the /24 network of an IPv4 address, and the /48 network of an IPv6 address, which one customer of
/// a provider may have.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(address) => prefix(address, 48),
    }
}

fn prefix(address: Ipv6Addr, bits: u32) -> IpAddr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits))).into()
}

#[cfg(test)]
mod tests {
    use parta_testkit::{logs, run_paused};

    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        total: 64,
        per_client: 16,
        opening_per_client: 2,
        request_bytes: 100,
    };

    fn admit(connections: &Connections, address: &str) -> Option<Admitted> {
        connections.admit(address.parse().unwrap())
    }

    #[test]
    fn connections_are_limited_per_client_network_and_in_all() {
        run_paused(async {
            logs().allow("too many connections");
            let connections = Connections::new(LIMITS);
            let open = |address: &str| admit(&connections, address);
            let mut held = Vec::new();
            for [first, same, neighbor, second] in [
                ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "192.0.2.3"],
                [
                    "2001:db8::1",
                    "2001:db8::ffff:0:0:1",
                    "2001:db8:0:1::1",
                    "2001:db8:0:2::1",
                ],
            ] {
                held.clear();
                held.extend((0..16).map(|_| open(first).unwrap()));
                assert!(open(first).is_none() && open(same).is_none());
                held.extend((0..16).map(|_| open(neighbor).unwrap()));
                assert!(open(second).is_none(), "half of all belongs to one network");
            }
            held.extend((0..16).map(|_| open("198.51.100.1").unwrap()));
            held.extend((0..12).map(|_| open("203.0.113.1").unwrap()));
            assert!(open("203.0.113.1").is_none(), "the rest is for clients with few");
            held.extend((0..4).map(|n| open(&format!("10.0.{n}.1")).unwrap()));
            assert!(open("10.9.0.1").is_none());
            assert_eq!(logs().lines().len(), 1, "one line a minute");
            tokio::time::advance(REPORT).await;
            assert!(open("10.9.0.1").is_none());
            assert_eq!(logs().lines().len(), 2);
            drop(held);
            let state = connections.0.lock();
            assert!(state.clients.is_empty() && state.networks.is_empty() && state.total == 0);
        });
    }

    #[test]
    fn one_more_opening_connection_closes_the_oldest() {
        let connections = Connections::new(LIMITS);
        let open = || admit(&connections, "192.0.2.1").unwrap();
        let other = admit(&connections, "192.0.2.2").unwrap();
        let (opened, silent) = (open(), open());
        opened.opened();
        let held = [open(), open()];
        let is_closed = |connection: &Admitted| connection.closed.is_cancelled();
        assert!(!is_closed(&opened) && is_closed(&silent) && !is_closed(&other));
        drop(held);
        let held = [open(), open()];
        assert!(!held.iter().any(is_closed));
    }

    #[test]
    fn request_bytes_are_limited_per_client_and_in_all() {
        let connections = Connections::new(LIMITS);
        let bytes = |address: &str| admit(&connections, address).unwrap().request_bytes.clone();
        let (one, other) = (bytes("192.0.2.1"), bytes("192.0.2.2"));
        assert!(one.reserve(75) && !one.reserve(1), "three quarters");
        assert!(other.reserve(25) && !other.reserve(1), "all");
        one.release(75);
        assert!(other.reserve(50) && !other.reserve(1) && one.reserve(25));
    }
}
