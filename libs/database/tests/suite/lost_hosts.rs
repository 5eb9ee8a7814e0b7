//! A PostgreSQL host that vanishes without a word. A proxy swallows what both sides send, and closes nothing.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use parta_database::{DatabaseConfig, Db, StorageError};
use parta_testkit::{Link, TestDatabase, on_postgres};
use sea_orm::{ConnectionTrait, Statement};

use crate::{
    counter::{insert, migrations, value},
    support::{Store, secrets},
};

const STATEMENT: Duration = Duration::from_millis(600);
const REPLY: Duration = Duration::from_millis(400);
const ACQUIRE: Duration = Duration::from_millis(1500);
/// The machine of the tests may be loaded.
const MARGIN: Duration = Duration::from_secs(2);

/// A database behind a proxy, with two connections for writing and short deadlines.
struct Behind {
    link: Link,
    db: Db,
    store: Store,
}

impl Behind {
    async fn open(database: &TestDatabase) -> Self {
        for text in ["database connection given up", "the database is unavailable"] {
            parta_testkit::logs().allow(text);
        }
        let store = Store::open(database, migrations()).await;
        let link = Link::to(database.url()).await;
        let config = DatabaseConfig {
            max_connections: 4,
            statement_timeout: STATEMENT,
            acquire_timeout: ACQUIRE,
            reply_timeout: REPLY,
            ..DatabaseConfig::new(link.through(database.url()))
        };
        let db = Db::connect(&config, "test", secrets(), store.db.env().clone())
            .await
            .unwrap();
        Self { link, db, store }
    }

    async fn write(&self, name: &str) -> Result<(), StorageError> {
        self.db.write(|tx| async move { insert(&tx, name).await }).await
    }
}

fn sleep(seconds: f64) -> String {
    format!("SELECT pg_sleep({seconds})")
}

fn assert_within(started: Instant, limit: Duration) {
    let elapsed = started.elapsed();
    assert!(elapsed < limit + MARGIN, "{elapsed:?} instead of {limit:?}");
}

// A statement in flight fails by its deadline. Connections that were given up do not count as in use: their
// transactions are still held when others succeed.
on_postgres!(
    statement_on_a_lost_host_fails_by_its_deadline,
    "SQLite is a file of the process",
    |database| async move {
        let behind = Behind::open(&database).await;
        let held = [
            behind.db.writer().begin().await.unwrap(),
            behind.db.writer().begin().await.unwrap(),
        ];
        behind.link.silence();
        let (started, statement) = (Instant::now(), sleep(0.0));
        let (one, other) = tokio::join!(
            held[0].execute_unprepared(&statement),
            held[1].execute_unprepared(&statement)
        );
        for failed in [one, other] {
            let failed = StorageError::from(failed.unwrap_err());
            assert!(matches!(failed, StorageError::Unavailable(_)), "{failed}");
        }
        assert_within(started, STATEMENT + REPLY);
        // New connections are possible.
        behind.link.reconnect();
        let started = Instant::now();
        behind.write("after the loss").await.unwrap();
        assert_eq!(value(behind.db.conn(), "after the loss").await, Some(0));
        assert_within(started, Duration::ZERO);
        // A later use of a connection that was given up does not wait again.
        let started = Instant::now();
        held[0].execute_unprepared(&statement).await.unwrap_err();
        assert_within(started, Duration::ZERO);
        drop(held);
        behind.db.close().await;
    }
);

// A connection that died while it was idle is replaced, and the request of the next user succeeds.
on_postgres!(
    dead_idle_connection_is_replaced,
    "SQLite is a file of the process",
    |database| async move {
        let behind = Behind::open(&database).await;
        behind.write("before").await.unwrap();
        behind.link.silence();
        behind.link.reconnect();
        let started = Instant::now();
        behind.write("after").await.unwrap();
        assert_within(started, REPLY);
        assert_eq!(value(behind.db.conn(), "after").await, Some(0));

        behind.link.silence();
        behind.link.reconnect();
        // A read does not begin with BEGIN. Its connection is pinged if it was idle for a second. The time is
        // real, because the server on the other side has no other.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let started = Instant::now();
        assert_eq!(value(behind.db.conn(), "before").await, Some(0));
        assert_within(started, REPLY);
        behind.db.close().await;
    }
);

// While no new connection is possible either, each call fails within the time to acquire one.
on_postgres!(
    calls_fail_in_time_while_the_host_is_away,
    "SQLite is a file of the process",
    |database| async move {
        let behind = Behind::open(&database).await;
        behind.write("before").await.unwrap();
        behind.link.silence();
        for n in 0..3 {
            let started = Instant::now();
            let failed = behind.write(&format!("away {n}")).await.unwrap_err();
            assert!(matches!(failed, StorageError::Unavailable(_)), "{failed}");
            assert_within(started, ACQUIRE + REPLY);
        }
        behind.link.reconnect();
        behind.write("back").await.unwrap();
        assert_eq!(value(behind.store.db.conn(), "back").await, Some(0));
        behind.db.close().await;
    }
);

// The outcome of a commit without a reply is unknown: work that recognizes its earlier run is repeated, and
// other work is refused.
on_postgres!(
    commit_without_a_reply_is_repeated_if_it_can_be,
    "SQLite replies in the process",
    |database| async move {
        let behind = Behind::open(&database).await;
        let runs = AtomicUsize::new(0);
        let work = |tx| {
            let (run, link) = (runs.fetch_add(1, Ordering::SeqCst), &behind.link);
            async move {
                let name = format!("run {run}");
                insert(&tx, &name).await?;
                // The first of each two runs loses its host at the commit.
                if run % 2 == 0 {
                    link.silence();
                    link.reconnect();
                }
                Ok::<_, StorageError>(name)
            }
        };
        let started = Instant::now();
        let done = behind.db.write_idempotent(work).await.unwrap();
        assert_eq!(done, "run 1");
        assert_within(started, STATEMENT + REPLY);
        assert_eq!(value(behind.store.db.conn(), &done).await, Some(0));

        let unknown = behind.db.write(work).await.unwrap_err();
        assert!(matches!(unknown, StorageError::Unavailable(_)), "{unknown}");
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        behind.db.close().await;
    }
);

// The end of a process does not wait for connections whose host is lost.
on_postgres!(
    close_does_not_wait_for_a_lost_host,
    "SQLite is a file of the process",
    |database| async move {
        parta_testkit::logs().allow("database connections given up at the close");
        let behind = Behind::open(&database).await;
        behind.write("idle").await.unwrap();
        let held = behind.db.writer().begin().await.unwrap();
        behind.link.silence();
        let (started, statement) = (Instant::now(), sleep(0.0));
        let in_flight = held.execute_unprepared(&statement);
        let close = async {
            behind.db.close().await;
            assert_within(started, REPLY);
        };
        let (failed, ()) = tokio::join!(in_flight, close);
        failed.unwrap_err();
        let refused = behind.write("closed").await.unwrap_err();
        assert!(matches!(refused, StorageError::Unavailable(_)), "{refused}");
    }
);

// The server ends a slow statement before the deadline, so that its connection is not given up.
on_postgres!(
    slow_statement_is_not_a_lost_host,
    "SQLite has no limit for statements",
    |database| async move {
        let behind = Behind::open(&database).await;
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let statement = Statement::from_string(behind.db.backend(), "SELECT pg_backend_pid()");
            let row = behind.db.conn().query_one_raw(statement).await.unwrap().unwrap();
            sessions.push(row.try_get_by_index::<i32>(0).unwrap());
            let slow = behind.db.conn().execute_unprepared(&sleep(60.0)).await;
            let slow = StorageError::from(slow.unwrap_err());
            assert!(matches!(slow, StorageError::Exhausted(_)), "{slow}");
        }
        assert_eq!(sessions[0], sessions[1], "the session is kept");
        behind.db.close().await;
    }
);

// A caller that goes away in the middle of a statement on a lost host leaves no connection in use behind.
on_postgres!(
    abandoned_call_on_a_lost_host_frees_its_connection,
    "SQLite is a file of the process",
    |database| async move {
        let behind = Behind::open(&database).await;
        let held = [
            behind.db.writer().begin().await.unwrap(),
            behind.db.writer().begin().await.unwrap(),
        ];
        behind.link.silence();
        for transaction in held {
            let statement = sleep(0.0);
            let executed = transaction.execute_unprepared(&statement);
            assert!(
                tokio::time::timeout(Duration::from_millis(10), executed)
                    .await
                    .is_err()
            );
        }
        behind.link.reconnect();
        let started = Instant::now();
        behind.write("after the loss").await.unwrap();
        assert_within(started, REPLY);
        behind.db.close().await;
    }
);
