use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::link::host_and_port;

/// The message of the client that commits.
const COMMIT: &[u8] = b"COMMIT\0";

/// A proxy to a server of PostgreSQL that cuts the connection in the middle of a commit. The plan of the
/// test names the transaction by a value that it binds.
pub struct CommitCut {
    url: String,
    shared: Arc<Shared>,
    _guard: DropGuard,
}

/// The message of a commit that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutAt {
    /// The server does not get the COMMIT, and rolls back.
    Request,
    /// The server commits, and the client does not get its reply.
    Reply,
}

#[derive(Clone)]
struct Plan {
    value: Vec<u8>,
    at: CutAt,
    /// Whether the server is away after the cut.
    away: bool,
}

struct Shared {
    plan: Mutex<Option<Plan>>,
    state: watch::Sender<State>,
}

#[derive(Default)]
struct State {
    cuts: usize,
    away: bool,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Option<Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, plan: &Plan) {
        self.state.send_modify(|state| {
            state.cuts += 1;
            state.away = plan.away;
        });
    }
}

impl CommitCut {
    /// Starts a proxy to the database of a URL.
    pub async fn to(url: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = host_and_port(url);
        let separator = if url.contains('?') { '&' } else { '?' };
        let through = url.replacen(&server, &address, 1);
        let shared = Arc::new(Shared {
            plan: Mutex::default(),
            state: watch::Sender::default(),
        });
        let (cancel, connections) = (CancellationToken::new(), TaskTracker::new());
        let (guard, accepting) = (cancel.clone().drop_guard(), shared.clone());
        connections.clone().spawn(async move {
            while let Some(Ok((client, _))) = cancel.run_until_cancelled(listener.accept()).await {
                let (server, shared, cancel) = (server.clone(), accepting.clone(), cancel.clone());
                connections.spawn(async move {
                    let mut state = shared.state.subscribe();
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => {}
                        _ = state.wait_for(|state| state.away) => {}
                        // Either side may close the connection.
                        _ended = forward(client, &server, &shared) => {}
                    }
                });
            }
        });
        Self {
            url: format!("{through}{separator}sslmode=disable"),
            shared,
            _guard: guard,
        }
    }

    /// The URL of the database through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Cuts the connection at the commit of the next transaction that binds this value, once. `away`: all
    /// connections are cut, and no other is possible until [`CommitCut::reconnect`].
    pub fn plan(&self, value: impl AsRef<[u8]>, at: CutAt, away: bool) {
        *self.shared.plan() = Some(Plan {
            value: value.as_ref().to_vec(),
            at,
            away,
        });
    }

    /// Waits until this number of connections have been cut at a commit.
    pub async fn cuts(&self, count: usize) {
        let mut state = self.shared.state.subscribe();
        // The sender lives as long as `self`.
        let _state = state.wait_for(|state| state.cuts >= count).await;
    }

    /// Makes connections possible again.
    pub fn reconnect(&self) {
        self.shared.state.send_modify(|state| state.away = false);
    }
}

async fn forward(client: TcpStream, server: &str, shared: &Shared) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The plan of the commit whose reply is awaited.
    let awaited = Mutex::default();
    tokio::select! {
        ended = replies(from_server, to_client, shared, &awaited) => ended,
        ended = requests(from_client, to_server, shared, &awaited) => ended,
    }
}

/// Forwards the bytes of the server until it has carried out the planned commit.
async fn replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    awaited: &Mutex<Option<Plan>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        let plan = awaited.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(plan) = plan {
            shared.cut(&plan);
            return Ok(());
        }
        let received = buffer.get(..length).unwrap_or_default();
        if received.is_empty() {
            return Ok(());
        }
        to.write_all(received).await?;
    }
}

/// Forwards the messages of the client until it commits the planned transaction.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    awaited: &Mutex<Option<Plan>>,
) -> io::Result<()> {
    // The startup message has no type byte.
    let mut kind = None;
    let (mut is_open, mut chosen) = (false, None::<Plan>);
    loop {
        let length = from.read_u32().await?;
        let mut body = vec![0; length.saturating_sub(4) as usize];
        from.read_exact(&mut body).await?;
        match (kind, body.as_slice()) {
            (Some(b'Q'), b"BEGIN\0") => is_open = true,
            (Some(b'Q'), b"ROLLBACK\0") => {
                is_open = false;
                // The transaction runs again.
                if let Some(plan) = chosen.take() {
                    *shared.plan() = Some(plan);
                }
            }
            (Some(b'Q'), COMMIT) => match chosen.take() {
                Some(plan) if plan.at == CutAt::Request => {
                    shared.cut(&plan);
                    return Ok(());
                }
                plan => {
                    is_open = false;
                    *awaited.lock().unwrap_or_else(PoisonError::into_inner) = plan;
                }
            },
            (Some(b'B'), values) if is_open && chosen.is_none() => {
                chosen = shared.plan().take_if(|plan| contains(values, &plan.value));
            }
            _ => {}
        }
        if let Some(kind) = kind {
            to.write_u8(kind).await?;
        }
        to.write_u32(length).await?;
        to.write_all(&body).await?;
        kind = Some(from.read_u8().await?);
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len().max(1)).any(|window| window == part)
}
