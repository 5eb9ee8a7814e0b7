use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// A proxy to a server of PostgreSQL that counts the messages that require a reply: simple queries, and the
/// Sync messages of extended queries.
pub struct StatementCounter {
    url: String,
    count: Arc<AtomicUsize>,
    _guard: DropGuard,
}

impl StatementCounter {
    /// Starts a proxy to the database of a URL.
    pub async fn to(url: &str) -> Self {
        let (_, rest) = url.split_once("://").expect("a URL");
        let host = rest.split('/').next().and_then(|host| host.rsplit('@').next());
        let host = host.expect("a host");
        let server = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:5432")
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let separator = if url.contains('?') { '&' } else { '?' };
        let through = format!("{}{separator}sslmode=disable", url.replacen(host, &address, 1));
        let count = Arc::<AtomicUsize>::default();
        let (cancel, connections, counted) = (CancellationToken::new(), TaskTracker::new(), count.clone());
        let guard = cancel.clone().drop_guard();
        connections.clone().spawn(async move {
            while let Some(Ok((client, _))) = cancel.run_until_cancelled(listener.accept()).await {
                let server = TcpStream::connect(&server).await.expect("the server");
                server.set_nodelay(true).expect("an option of the socket");
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                let (counted, cancel) = (counted.clone(), cancel.clone());
                connections.spawn(async move {
                    let responses = tokio::io::copy(&mut from_server, &mut to_client);
                    let both = async { tokio::join!(responses, questions(from_client, to_server, counted)) };
                    // Either side may close the connection.
                    let _ended = cancel.run_until_cancelled(both).await;
                });
            }
        });
        Self {
            url: through,
            count,
            _guard: guard,
        }
    }

    /// The URL of the database through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The number of statements until now.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

async fn questions(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    count: Arc<AtomicUsize>,
) -> io::Result<()> {
    // The startup message has no type byte.
    let mut kind = None;
    loop {
        let length = from.read_u32().await?;
        let mut body = vec![0; length.saturating_sub(4) as usize];
        from.read_exact(&mut body).await?;
        if let Some(kind) = kind {
            to.write_u8(kind).await?;
            if matches!(kind, b'Q' | b'S') {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
        to.write_u32(length).await?;
        to.write_all(&body).await?;
        kind = Some(from.read_u8().await?);
    }
}
