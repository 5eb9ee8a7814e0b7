//! The replicas behind the address of a service, and the choice of one for each call.
//!
//! A name in DNS stands for all replicas of a service (in Kubernetes: the name of a headless Service). One
//! task of each channel resolves the name every ten seconds, and connects to each address. A call goes to the
//! next replica that is connected. A replica whose connection fails, or whose address the name no longer has,
//! gets no further calls; a call without a replica waits for one attempt to connect.
use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream};
use hyper_util::rt::TokioIo;
use parta_status::error_chain;
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::rpc::{HttpRequest, HttpResponse};

/// DNS does not notify of changes, so a name is resolved again this often.
const RESOLVE_PERIOD: Duration = Duration::from_secs(10);
/// The maximum duration of an attempt to connect, with the handshakes of TLS and HTTP/2.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum duration of a lookup in DNS.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after an attempt that failed, so that calls to a service that is down do not cause attempts at
/// their own rate.
const FAILURE_PAUSE: Duration = Duration::from_millis(200);
/// The maximum number of attempts to connect at once.
const CONCURRENT_CONNECTS: usize = 8;

/// Resolves the name of a service.
type Lookup = Arc<dyn Fn() -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;
/// Returns the settings of a connection. It is called for each connection, because the authority that clients
/// trust can change while the process runs.
pub(super) type EndpointSource = Arc<dyn Fn() -> Result<Endpoint, tonic::transport::Error> + Send + Sync>;

/// No replica of a service could be reached.
#[derive(Debug, Clone)]
pub(super) struct Unreachable(Arc<str>);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

/// The reason why a call had no response.
#[derive(Debug)]
pub(super) enum Failed {
    /// The request was not sent.
    Unreachable(Unreachable),
    /// The connection failed during the call.
    Transport(tonic::transport::Error),
}

/// The replicas of one service. Cheap to clone; when the last clone is dropped, the task ends.
#[derive(Clone)]
pub(super) struct Replicas(Arc<Inner>);

struct Inner {
    connector: Connector,
    /// The task starts with the first call, so that a channel can be built outside of a runtime.
    started: Once,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

/// The task and the calls share these.
#[derive(Clone)]
struct Connector {
    peer: Arc<str>,
    lookup: Lookup,
    endpoint: EndpointSource,
    shared: Arc<Shared>,
}

struct Shared {
    state: watch::Sender<State>,
    /// Requests an attempt now: a connection failed, or a call has no replica.
    wake: Notify,
    /// The number of calls, which take turns among the replicas.
    calls: AtomicUsize,
}

#[derive(Default)]
struct State {
    connected: Vec<Replica>,
    /// The number of finished attempts to connect to all addresses.
    attempts: u64,
    /// The error of the last attempt.
    error: Option<Unreachable>,
}

#[derive(Clone)]
struct Replica {
    address: SocketAddr,
    /// A channel is not cheap to clone, so that only a call clones it.
    channel: Arc<Channel>,
}

impl Replicas {
    /// Returns the replicas at the host and the port of `uri`. Nothing is resolved before the first call.
    pub(super) fn new(peer: &str, uri: &http::Uri, endpoint: EndpointSource) -> Self {
        let host = uri.host().unwrap_or_default();
        let host: Arc<str> = host.trim_start_matches('[').trim_end_matches(']').into();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        });
        let lookup: Lookup = Arc::new(move || {
            let host = host.clone();
            Box::pin(async move { Ok(tokio::net::lookup_host((&*host, port)).await?.collect()) })
        });
        Self::with(peer, lookup, endpoint)
    }

    fn with(peer: &str, lookup: Lookup, endpoint: EndpointSource) -> Self {
        let stop = CancellationToken::new();
        Self(Arc::new(Inner {
            connector: Connector {
                peer: peer.into(),
                lookup,
                endpoint,
                shared: Arc::new(Shared {
                    state: watch::Sender::new(State::default()),
                    wake: Notify::new(),
                    calls: AtomicUsize::new(0),
                }),
            },
            started: Once::new(),
            tasks: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        }))
    }

    /// Sends a request to the next replica. Waits for one attempt to connect if there is none.
    pub(super) async fn call(self, request: HttpRequest) -> Result<HttpResponse, Failed> {
        let shared = &self.0.connector.shared;
        self.start();
        let replica = match shared.next() {
            Some(replica) => replica,
            None => shared.wait().await.map_err(Failed::Unreachable)?,
        };
        let channel = Channel::clone(&replica.channel);
        let response = channel.oneshot(request).await;
        response.map_err(|error| {
            shared.remove(&replica);
            Failed::Transport(error)
        })
    }

    fn start(&self) {
        let Inner { connector, stop, .. } = &*self.0;
        self.0.started.call_once(|| {
            let task = connector.clone().keep_connected();
            let span = tracing::info_span!(parent: None, "replicas", peer = &*connector.peer);
            let task = stop.clone().run_until_cancelled_owned(task).instrument(span);
            self.0.tasks.spawn(task);
        });
    }
}

impl Shared {
    fn next(&self) -> Option<Replica> {
        let state = self.state.borrow();
        let turn = self.calls.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(state.connected.len())?;
        state.connected.get(index).cloned()
    }

    /// Returns a replica, or the error of an attempt that ended after this call.
    async fn wait(&self) -> Result<Replica, Unreachable> {
        let mut states = self.state.subscribe();
        let attempts = states.borrow().attempts;
        self.wake.notify_one();
        let changed = states.wait_for(|state| !state.connected.is_empty() || state.attempts > attempts);
        let error = match changed.await {
            Ok(state) => state.error.clone(),
            Err(_) => None,
        };
        self.next()
            .ok_or_else(|| error.unwrap_or_else(|| Unreachable("the connection was lost again".into())))
    }

    /// Removes a replica whose connection failed, and requests a new connection.
    fn remove(&self, failed: &Replica) {
        let removed = self.state.send_if_modified(|state| {
            let before = state.connected.len();
            state
                .connected
                .retain(|replica| !Arc::ptr_eq(&replica.channel, &failed.channel));
            before > state.connected.len()
        });
        if removed {
            self.wake.notify_one();
        }
    }
}

/// The error of an attempt, or that DNS has no address.
struct Reason<'a>(&'a Option<Unreachable>);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(error) => error.fmt(f),
            None => f.write_str("the name has no address"),
        }
    }
}

impl Connector {
    /// Resolves the name and connects, now and again, until it is canceled.
    async fn keep_connected(self) {
        let mut was_reachable = None;
        loop {
            let error = self.connect_all().await.err();
            let is_reachable = !self.shared.state.borrow().connected.is_empty();
            match (was_reachable, is_reachable) {
                (Some(true), false) => tracing::warn!(reason = %Reason(&error), "no replica can be reached"),
                (Some(false), true) => tracing::info!("a replica can be reached"),
                (None, false) => tracing::info!(reason = %Reason(&error), "no replica can be reached yet"),
                _ => {}
            }
            was_reachable = Some(is_reachable);
            let failed = error.is_some();
            self.shared.state.send_modify(|state| {
                state.attempts += 1;
                state.error = error;
            });
            if failed {
                tokio::time::sleep(FAILURE_PAUSE).await;
            }
            // Both the end of the period and a request for an attempt begin the next one.
            let _ = tokio::time::timeout(RESOLVE_PERIOD, self.shared.wake.notified()).await;
        }
    }

    /// Connects to the addresses that are not connected, and removes replicas that DNS no longer has. Each
    /// replica is used as soon as it is connected. Returns the last error.
    async fn connect_all(&self) -> Result<(), Unreachable> {
        let unreachable = |error: String| Unreachable(error.into());
        let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, (self.lookup)()).await;
        let mut addresses = lookup
            .map_err(|_| unreachable("the lookup in DNS took too long".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?;
        addresses.sort_unstable();
        addresses.dedup();
        self.shared.state.send_if_modified(|state| {
            let before = state.connected.len();
            state
                .connected
                .retain(|replica| addresses.contains(&replica.address));
            before > state.connected.len()
        });
        let missing: Vec<_> = {
            let state = self.shared.state.borrow();
            let is_missing = |address: &SocketAddr| state.connected.iter().all(|r| r.address != *address);
            addresses.into_iter().filter(is_missing).collect()
        };
        let attempts = missing
            .into_iter()
            .map(|address| async move { (address, self.connect(address).await) });
        let mut attempts = stream::iter(attempts).buffer_unordered(CONCURRENT_CONNECTS);
        let mut result = Ok(());
        while let Some((address, connected)) = attempts.next().await {
            match connected {
                Ok(channel) => self.shared.state.send_modify(|state| {
                    let channel = Arc::new(channel);
                    state.connected.push(Replica { address, channel });
                }),
                Err(error) => {
                    tracing::debug!(%address, error, "no connection to a replica");
                    result = Err(unreachable(error));
                }
            }
        }
        result
    }

    async fn connect(&self, address: SocketAddr) -> Result<Channel, String> {
        let endpoint = (self.endpoint)().map_err(|error| error_chain(&error))?;
        let tcp = tower::service_fn(move |_| async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            io::Result::Ok(TokioIo::new(stream))
        });
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(tcp)).await;
        match connected {
            Ok(connected) => connected.map_err(|error| error_chain(&error)),
            Err(_) => Err("the connection took too long".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
