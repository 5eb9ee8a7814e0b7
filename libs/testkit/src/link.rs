use std::net::SocketAddr;

use tokio::{
    io::{copy, copy_bidirectional, sink},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// A TCP proxy to a server. While it is disconnected, open connections are broken and new ones are closed at
/// once. While it is silent, it swallows every byte, and neither side learns that.
pub struct Link {
    address: SocketAddr,
    state: watch::Sender<State>,
    _guard: DropGuard,
}

#[derive(Default)]
struct State {
    disconnected: bool,
    silent: bool,
    /// The number of times that the proxy became silent.
    silences: usize,
    connections: usize,
}

/// `host:port` of a URL.
pub(crate) fn host_and_port(url: &str) -> String {
    let uri: http::Uri = url.parse().expect("the URL of a server");
    let port = uri.port_u16().expect("a port");
    format!("{}:{port}", uri.host().expect("a host"))
}

impl Link {
    /// Starts a proxy to the server of a URL.
    pub async fn to(url: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let (state, target, cancel) = (
            watch::Sender::<State>::default(),
            host_and_port(url),
            CancellationToken::new(),
        );
        let link = Self {
            address: listener.local_addr().expect("an address"),
            state: state.clone(),
            _guard: cancel.clone().drop_guard(),
        };
        let tracker = TaskTracker::new();
        let connections = tracker.clone();
        tracker.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = cancel.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                if let Ok((stream, _)) = accepted {
                    connections.spawn(forward(stream, target.clone(), state.clone(), cancel.clone()));
                }
            }
        });
        link
    }

    /// Starts a proxy that accepts no connection until [`Link::reconnect`].
    pub async fn disconnected(url: &str) -> Self {
        let link = Self::to(url).await;
        link.state.send_modify(|state| state.disconnected = true);
        link
    }

    /// Returns the URL with the address of the proxy instead of that of the server.
    pub fn through(&self, url: &str) -> String {
        url.replacen(&host_and_port(url), &self.address.to_string(), 1)
    }

    /// Breaks all connections and waits until they are closed. Fails if there is none, because the proxy is
    /// then not in use.
    pub async fn disconnect(&self) {
        assert!(self.state.borrow().connections > 0, "the proxy has no connection");
        self.state.send_modify(|state| state.disconnected = true);
        let mut watched = self.state.subscribe();
        _ = watched.wait_for(|state| state.connections == 0).await;
    }

    /// Swallows every byte of all connections from now on, as a host that vanishes does. Connections of this
    /// time, old and new ones, stay silent for good and are not closed.
    pub fn silence(&self) {
        self.state.send_modify(|state| {
            state.silent = true;
            state.silences += 1;
        });
    }

    /// Accepts connections again. Those that became silent stay so.
    pub fn reconnect(&self) {
        self.state.send_modify(|state| {
            state.disconnected = false;
            state.silent = false;
        });
    }
}

async fn forward(
    mut client: TcpStream,
    target: String,
    state: watch::Sender<State>,
    cancel: CancellationToken,
) {
    let mut watched = state.subscribe();
    if watched.borrow_and_update().disconnected {
        return;
    }
    let before = watched.borrow().silences;
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    state.send_modify(|state| state.connections += 1);
    let forwarded = async {
        let mut watched = state.subscribe();
        tokio::select! {
            biased;
            // Also a silence that is over by now.
            _ = watched.wait_for(|state| state.silent || state.silences > before) => {}
            // An error also ends the connection on both sides.
            _ = copy_bidirectional(&mut client, &mut server) => return,
        }
        let (mut from_client, mut from_server) = (sink(), sink());
        _ = tokio::join!(
            copy(&mut client, &mut from_client),
            copy(&mut server, &mut from_server)
        );
        // A side that has closed its connection does not end the other one.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = forwarded => {}
        _ = watched.wait_for(|state| state.disconnected) => {}
        () = cancel.cancelled() => {}
    }
    state.send_modify(|state| state.connections -= 1);
}
