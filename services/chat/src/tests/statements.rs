//! Counts the statements that a replica sends to PostgreSQL.
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
use tokio_util::task::TaskTracker;

/// A proxy to a server of PostgreSQL that counts the messages that require a reply: simple queries, and the
/// Sync messages of extended queries.
pub(crate) struct StatementCounter {
    /// The URL of the database through the proxy.
    pub(crate) url: String,
    count: Arc<AtomicUsize>,
}

impl StatementCounter {
    /// Starts a proxy to the database of a URL.
    pub(crate) async fn to(url: &str, tracker: &TaskTracker) -> Self {
        let (_, rest) = url.split_once("://").unwrap();
        let host = rest.split('/').next().unwrap().rsplit('@').next().unwrap();
        let server = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:5432")
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let separator = if url.contains('?') { '&' } else { '?' };
        let through = format!("{}{separator}sslmode=disable", url.replacen(host, &address, 1));
        let count = Arc::<AtomicUsize>::default();
        let (connections, counted) = (tracker.clone(), count.clone());
        tracker.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                let counted = counted.clone();
                connections.spawn(async move {
                    let answers = tokio::io::copy(&mut from_server, &mut to_client);
                    tokio::join!(answers, questions(from_client, to_server, counted))
                });
            }
        });
        Self { url: through, count }
    }

    /// The number of statements until now.
    pub(crate) fn count(&self) -> usize {
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
