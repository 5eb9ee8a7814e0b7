//! Round trips to PostgreSQL.
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parta_database::{DatabaseConfig, Db};
use parta_testkit::on_postgres;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::task::TaskTracker;

use crate::{
    counter::{insert, migrations, value},
    support::{Store, secrets},
};

/// Forwards client messages to a server and counts those that require a reply: simple queries, and the Sync
/// messages of extended queries.
async fn forward(listener: TcpListener, server: String, asked: Arc<AtomicUsize>) -> io::Result<()> {
    let connections = TaskTracker::new();
    loop {
        let (client, _) = listener.accept().await?;
        let server = TcpStream::connect(&server).await?;
        server.set_nodelay(true)?;
        let (from_client, mut to_client) = client.into_split();
        let (mut from_server, to_server) = server.into_split();
        let asked = asked.clone();
        connections.spawn(async move {
            let answers = tokio::io::copy(&mut from_server, &mut to_client);
            tokio::join!(answers, questions(from_client, to_server, asked))
        });
    }
}

async fn questions(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: Arc<AtomicUsize>,
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
                asked.fetch_add(1, Ordering::SeqCst);
            }
        }
        to.write_u32(length).await?;
        to.write_all(&body).await?;
        kind = Some(from.read_u8().await?);
    }
}

// A read costs one round trip, and a transaction two more than its statements: no ping checks the connection.
on_postgres!(
    no_additional_round_trips_are_made,
    "SQLite is called in the process: there are no round trips",
    |database| async move {
        const TIMES: usize = 20;
        let store = Store::open(&database, migrations()).await;
        let mut config = DatabaseConfig::new(database.url());
        let (_, rest) = config.url.split_once("://").unwrap();
        let host = rest.split('/').next().unwrap().rsplit('@').next().unwrap();
        let server = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:5432")
        };
        let (listener, asked) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            Arc::<AtomicUsize>::default(),
        );
        let address = listener.local_addr().unwrap().to_string();
        let separator = if config.url.contains('?') { '&' } else { '?' };
        config.url = format!(
            "{}{separator}sslmode=disable",
            config.url.replacen(host, &address, 1)
        );
        let measured = async {
            let db = Db::connect(&config, "test", secrets(), store.db.env().clone())
                .await
                .unwrap();
            let read = async || value(db.conn(), "nothing").await;
            let write = async |name: &str| {
                db.write(|tx| async move { insert(&tx, name).await })
                    .await
                    .unwrap();
            };
            // Connects and prepares the statements.
            read().await;
            write("first").await;

            let before = asked.load(Ordering::SeqCst);
            for _ in 0..TIMES {
                read().await;
            }
            let between = asked.load(Ordering::SeqCst);
            assert_eq!(between - before, TIMES, "round trips of {TIMES} reads");
            for n in 0..TIMES {
                write(&format!("n {n}")).await;
            }
            let after = asked.load(Ordering::SeqCst);
            assert_eq!(after - between, 3 * TIMES, "round trips of {TIMES} writes");
            db.close().await;
        };
        tokio::select! {
            ended = forward(listener, server, asked.clone()) => panic!("forwarding ended: {ended:?}"),
            () = measured => {}
        }
    }
);
