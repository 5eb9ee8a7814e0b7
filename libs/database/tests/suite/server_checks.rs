//! The checks of a PostgreSQL server at the start.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use parta_database::{DatabaseConfig, Db, StorageError};
use parta_ids::Env;
use parta_testkit::{PgBouncer, TestDatabase, on_both, on_postgres};
use sea_orm::{ConnectionTrait, Statement};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

use crate::{
    counter::migrations,
    support::{Store, secrets},
};

async fn connect(config: &DatabaseConfig) -> Db {
    Db::connect(config, "test", secrets(), Env::system())
        .await
        .unwrap()
}

/// Changes a setting of a test's database for the sessions that open later.
async fn set(database: &TestDatabase, setting: &str) {
    let db = connect(&DatabaseConfig::new(database.url())).await;
    let statement = Statement::from_string(db.backend(), "SELECT current_database()");
    let row = db.conn().query_one_raw(statement).await.unwrap().unwrap();
    let name: String = row.try_get_by_index(0).unwrap();
    let sql = format!("SET LOCAL transaction_read_only = off; ALTER DATABASE {name} {setting}");
    db.writer().execute_unprepared(&sql).await.unwrap();
    db.close().await;
}

async fn check(url: &str) -> Result<(), StorageError> {
    let db = connect(&DatabaseConfig::new(url)).await;
    let checked = db.check_server().await;
    db.close().await;
    checked
}

on_both!(sound_server_passes_the_checks, |database| async move {
    let store = Store::open(&database, migrations()).await;
    store.db.check_server().await.unwrap();
});

on_postgres!(
    server_that_loses_acknowledged_writes_is_refused,
    "SQLite's settings belong to the connection, which sets them",
    |database| async move {
        set(&database, "SET synchronous_commit = off").await;
        let refused = check(database.url()).await.unwrap_err();
        let StorageError::Config(text) = &refused else {
            panic!("{refused}");
        };
        assert!(
            text.contains("synchronous_commit of PostgreSQL is off") && text.contains("set it to on"),
            "{text}"
        );
        for accepted in ["on", "local", "remote_write", "remote_apply"] {
            set(&database, &format!("SET synchronous_commit = {accepted}")).await;
            check(database.url()).await.unwrap();
        }
    }
);

// Only the configuration of the server sets these, and other tests use the server. Therefore a function of
// the database shadows the one that returns settings.
on_postgres!(
    server_that_a_power_cut_damages_is_refused,
    "SQLite's settings belong to the connection, which sets them",
    |database| async move {
        set(&database, "SET search_path = public, pg_catalog").await;
        for wrong in ["fsync", "full_page_writes"] {
            let db = connect(&DatabaseConfig::new(database.url())).await;
            let shadow = format!(
                "CREATE OR REPLACE FUNCTION public.current_setting(name text) RETURNS text LANGUAGE sql AS $$
                 SELECT CASE WHEN name = '{wrong}' THEN 'off' ELSE pg_catalog.current_setting(name) END $$"
            );
            db.writer().execute_unprepared(&shadow).await.unwrap();
            db.close().await;
            let refused = check(database.url()).await.unwrap_err();
            let StorageError::Config(text) = &refused else {
                panic!("{refused}");
            };
            assert!(text.contains(&format!("{wrong} of PostgreSQL is off")), "{text}");
        }
    }
);

// The sessions set the isolation that the code relies on, whatever the database says.
on_postgres!(
    isolation_is_set_by_the_session,
    "SQLite has one isolation",
    |database| async move {
        set(&database, "SET default_transaction_isolation = serializable").await;
        let db = connect(&DatabaseConfig::new(database.url())).await;
        db.check_server().await.unwrap();
        for (connection, expected) in [(db.writer(), "read committed"), (db.conn(), "repeatable read")] {
            let statement = Statement::from_string(db.backend(), "SHOW transaction_isolation");
            let row = connection.query_one_raw(statement).await.unwrap().unwrap();
            assert_eq!(row.try_get_by_index::<String>(0).unwrap(), expected);
        }
        db.close().await;
    }
);

on_postgres!(
    read_only_server_is_waited_for,
    "SQLite's file is opened for writing",
    |database| async move {
        set(&database, "SET default_transaction_read_only = on").await;
        let refused = check(database.url()).await.unwrap_err();
        let StorageError::Unavailable(text) = &refused else {
            panic!("{refused}");
        };
        assert!(text.contains("default_transaction_read_only is on"), "{text}");
        set(&database, "RESET default_transaction_read_only").await;
        check(database.url()).await.unwrap();
    }
);

/// The first attempt to reach an absent server fails at once, so that the start can log it.
#[test]
fn absent_server_is_reported_at_once() {
    parta_testkit::run(async {
        let started = Instant::now();
        let refused = check("postgres://nobody@127.0.0.1:9/none").await.unwrap_err();
        assert!(matches!(refused, StorageError::Unavailable(_)), "{refused}");
        assert!(started.elapsed() < Duration::from_secs(5));
    });
}

/// Reads the message of a client or a server after the login: its kind and its bytes.
async fn message(from: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut body = vec![0; length.saturating_sub(4) as usize];
    from.read_exact(&mut body).await?;
    let mut bytes = vec![kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    Ok((kind, bytes))
}

/// A pooler in transaction mode: after the login of a client, any free server connection serves each of its
/// transactions.
struct Pooler {
    server: String,
    free: Mutex<Vec<TcpStream>>,
}

impl Pooler {
    /// There is one for each client.
    fn take(&self) -> TcpStream {
        self.free.lock().unwrap().pop().unwrap()
    }

    fn put(&self, server: TcpStream) {
        self.free.lock().unwrap().push(server);
    }

    /// Forwards the login to a server connection of its own.
    async fn log_in(&self, client: &mut TcpStream) -> io::Result<()> {
        const SSL_REQUEST: u32 = 80_877_103;
        let mut server = TcpStream::connect(&self.server).await?;
        loop {
            let length = client.read_u32().await?;
            let mut body = vec![0; length.saturating_sub(4) as usize];
            client.read_exact(&mut body).await?;
            if body.starts_with(&SSL_REQUEST.to_be_bytes()) {
                client.write_all(b"N").await?;
                continue;
            }
            server.write_u32(length).await?;
            server.write_all(&body).await?;
            break;
        }
        loop {
            let (kind, reply) = message(&mut server).await?;
            client.write_all(&reply).await?;
            // A request for a password, and not its acceptance.
            if kind == b'R' && !matches!(reply.get(5..9), Some([0, 0, 0, 0 | 12])) {
                let (_, password) = message(client).await?;
                server.write_all(&password).await?;
            }
            if kind == b'Z' {
                self.put(server);
                return Ok(());
            }
        }
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        self.log_in(&mut client).await?;
        loop {
            let (mut kind, mut bytes) = message(&mut client).await?;
            if kind == b'X' {
                return Ok(());
            }
            let mut server = self.take();
            loop {
                server.write_all(&bytes).await?;
                // Simple queries, and Sync of extended ones, are replied to.
                if matches!(kind, b'Q' | b'S') {
                    let status = loop {
                        let (kind, reply) = message(&mut server).await?;
                        client.write_all(&reply).await?;
                        if kind == b'Z' {
                            break reply.last().copied();
                        }
                    };
                    if status == Some(b'I') {
                        break;
                    }
                }
                (kind, bytes) = message(&mut client).await?;
            }
            self.put(server);
        }
    }
}

on_postgres!(
    pooler_in_transaction_mode_is_refused,
    "SQLite has no pooler",
    |database| async move {
        let rest = database.url().split_once("://").unwrap().1;
        let host = rest.split('/').next().unwrap().rsplit('@').next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let pooler = Arc::new(Pooler {
            server: host.to_owned(),
            free: Mutex::default(),
        });
        let pooled = async {
            let clients = TaskTracker::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let pooler = pooler.clone();
                clients.spawn(async move { pooler.serve(client).await });
            }
        };
        let url = database.url().replacen(host, &address, 1);
        let refused = tokio::select! {
            () = pooled => unreachable!(),
            checked = check(&url) => checked.unwrap_err(),
        };
        let StorageError::Config(text) = &refused else {
            panic!("{refused}");
        };
        assert!(text.contains("pooler in transaction mode"), "{text}");
    }
);

on_postgres!(
    pgbouncer_is_supported_in_session_mode_only,
    "SQLite has no pooler",
    |database| async move {
        let pooler = PgBouncer::start("session").await;
        check(&pooler.url(&database)).await.unwrap();
        for mode in ["transaction", "statement"] {
            let pooler = PgBouncer::start(mode).await;
            let refused = check(&pooler.url(&database)).await.unwrap_err();
            let StorageError::Config(text) = &refused else {
                panic!("{mode}: {refused}");
            };
            assert!(text.contains("pooler in transaction mode"), "{mode}: {text}");
        }
    }
);
