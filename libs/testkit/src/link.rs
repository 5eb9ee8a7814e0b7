use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// A way to a server that a test can cut: while it is, connections break and new ones are closed at once.
pub struct Link {
    address: SocketAddr,
    state: watch::Sender<State>,
    _guard: DropGuard,
}

#[derive(Default)]
struct State {
    cut: bool,
    connections: usize,
}

/// `host:port` of a URL.
fn authority(url: &str) -> String {
    let uri: http::Uri = url.parse().expect("the URL of a server");
    let port = uri.port_u16().expect("a port");
    format!("{}:{port}", uri.host().expect("a host"))
}

impl Link {
    /// A way to the server of a URL.
    pub async fn to(url: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let (state, target, cancel) = (
            watch::Sender::<State>::default(),
            authority(url),
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
                    connections.spawn(carry(stream, target.clone(), state.clone(), cancel.clone()));
                }
            }
        });
        link
    }

    /// The same URL by this way.
    pub fn through(&self, url: &str) -> String {
        url.replacen(&authority(url), &self.address.to_string(), 1)
    }

    /// Cuts it, and returns when no connection is left. Fails where there was none: then it is not the way
    /// that is taken.
    pub async fn cut(&self) {
        assert!(
            self.state.borrow().connections > 0,
            "nothing goes by the way that is cut"
        );
        self.state.send_modify(|state| state.cut = true);
        let mut watched = self.state.subscribe();
        _ = watched.wait_for(|state| state.connections == 0).await;
    }

    /// Lets connections pass again.
    pub fn mend(&self) {
        self.state.send_modify(|state| state.cut = false);
    }
}

async fn carry(mut near: TcpStream, target: String, state: watch::Sender<State>, cancel: CancellationToken) {
    let mut watched = state.subscribe();
    if watched.borrow_and_update().cut {
        return;
    }
    let Ok(mut far) = TcpStream::connect(target).await else {
        return;
    };
    state.send_modify(|state| state.connections += 1);
    tokio::select! {
        // An error is an end like any other: both sides see their connection closed.
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = watched.wait_for(|state| state.cut) => {}
        () = cancel.cancelled() => {}
    }
    state.send_modify(|state| state.connections -= 1);
}
