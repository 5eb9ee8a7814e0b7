//! Databases that are unavailable or become unavailable.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::FutureExt as _;
use parta_database::{CommitStep, DatabaseConfig, Db, StorageError, Tx};
use parta_proto::status::v1::ErrorReason;
use parta_status::{Reason, RpcError};
use parta_testkit::{on_both, on_postgres};
use sea_orm::{ConnectionTrait, Statement};

use crate::{
    counter::{insert, migrations, value},
    support::Store,
};

const SECOND: Duration = Duration::from_secs(1);

/// An absent server is an unavailable dependency, not an internal error.
#[test]
fn absent_server_is_unavailable() {
    parta_testkit::run(async {
        parta_testkit::logs().allow("the database is unavailable");
        let mut config = DatabaseConfig::new("postgres://nobody@127.0.0.1:9/none");
        config.acquire_timeout = SECOND;
        let db = Db::connect(
            &config,
            "test",
            crate::support::secrets(),
            parta_ids::Env::system(),
        )
        .await
        .unwrap();
        let refused = RpcError::from(db.epoch().await.unwrap_err());
        assert_eq!(refused.reason(), ErrorReason::DependencyUnavailable.text());
        let refused = db
            .write(|tx| async move { insert(&tx, "a").await.map_err(RpcError::from) })
            .await
            .unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
    });
}

// A future that is dropped while it begins a transaction leaves no open transaction behind. The next user of
// the connection would write into it, and the write would never be committed.
on_postgres!(
    abandoned_begin_leaves_no_open_transaction,
    "SQLite connections are behind a lock of this process, which other tests hold",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let mut config = DatabaseConfig::new(database.url());
        // All calls share the same connections.
        config.max_connections = 2;
        let (secrets, env) = (crate::support::secrets(), store.db.env().clone());
        let db = Db::connect(&config, "test", secrets, env).await.unwrap();
        let write = || {
            db.write(|_| async { Ok::<_, StorageError>(()) })
                .boxed_local()
                .fuse()
        };
        for n in 0..60 {
            // Both connections are open and usable.
            let (one, other) = tokio::join!(write(), write());
            one.and(other).unwrap();
            let mut given_up = [write(), write()];
            // Each call is dropped after a different number of polls.
            for _ in 0..=n % 5 {
                for work in &mut given_up {
                    _ = futures::poll!(work);
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            drop(given_up);
            let name = format!("after {n}");
            let insert = format!("INSERT INTO counter (name, n) VALUES ('{name}', 0)");
            db.writer().execute_unprepared(&insert).await.unwrap();
            let seen = value(store.db.conn(), &name).await;
            assert_eq!(seen, Some(0), "the write {name} was not committed");
        }
        db.close().await;
    }
);

static NOTIFIED_COMMITS: AtomicUsize = AtomicUsize::new(0);

#[derive(Default)]
struct CountCommits;

#[async_trait::async_trait]
impl CommitStep for CountCommits {
    async fn before_commit(&self, _: &Tx) -> Result<(), StorageError> {
        Ok(())
    }

    fn after_commit(&self, _: &Db) {
        NOTIFIED_COMMITS.fetch_add(1, Ordering::Relaxed);
    }
}

// A commit whose caller was dropped still runs its hooks.
on_both!(
    commit_hooks_run_when_the_caller_is_dropped,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        NOTIFIED_COMMITS.store(0, Ordering::Relaxed);
        for n in 0..80 {
            let name = format!("dropped {n}");
            let mut work = store
                .db
                .write(|tx| {
                    let name = name.clone();
                    async move {
                        tx.step::<CountCommits>();
                        insert(&tx, &name).await
                    }
                })
                .boxed_local()
                .fuse();
            // Each call is dropped after a different number of polls.
            for _ in 0..=n % 10 {
                _ = futures::poll!(&mut work);
                tokio::time::sleep(std::time::Duration::from_micros(200)).await;
            }
        }
        let sql = "SELECT count(*) AS n FROM counter WHERE name LIKE 'dropped %'";
        let counted = async {
            loop {
                let statement = Statement::from_string(store.db.backend(), sql);
                let row = store.db.conn().query_one_raw(statement).await.unwrap().unwrap();
                let rows = row.try_get::<i64>("", "n").unwrap();
                if rows > 0 && usize::try_from(rows) == Ok(NOTIFIED_COMMITS.load(Ordering::Relaxed)) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let counted = tokio::time::timeout(std::time::Duration::from_secs(20), counted).await;
        counted.expect("every commit and nothing else is notified");
    }
);

// All connections of a database with two of each kind are in use. A further request is refused within the
// timeout and succeeds once a connection is free.
on_postgres!(
    request_is_refused_when_all_connections_are_in_use,
    "SQLite has one connection for writing, for which writers queue",
    |database| async move {
        parta_testkit::logs().allow("the database is unavailable");
        let store = Store::open(&database, migrations()).await;
        let mut config = DatabaseConfig::new(database.url());
        (config.max_connections, config.acquire_timeout) = (2, SECOND);
        let (secrets, env) = (crate::support::secrets(), store.db.env().clone());
        let db = Db::connect(&config, "test", secrets, env).await.unwrap();
        let (one, other) = (
            db.lease_writer(SECOND).await.unwrap(),
            db.writer().begin().await.unwrap(),
        );
        let refused = db.lease_writer(SECOND).await.err().unwrap();
        assert!(matches!(refused, StorageError::Unavailable(_)), "{refused}");
        drop(one);
        db.write(|tx| async move { insert(&tx, "served").await })
            .await
            .unwrap();
        other.rollback().await.unwrap();
        db.close().await;
    }
);

// A dropped transaction is rolled back, and a reused connection does not continue it.
on_both!(
    dropped_transaction_is_rolled_back_before_reuse,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let db = &store.db;
        for n in 0..20 {
            let open = db.writer().begin().await.unwrap();
            let insert_row = |name: String| format!("INSERT INTO counter (name, n) VALUES ('{name}', 0)");
            open.execute_unprepared(&insert_row(format!("dropped {n}")))
                .await
                .unwrap();
            if n % 2 == 0 {
                // In the middle of a statement.
                let statement = insert_row(format!("also dropped {n}"));
                let mut asking = open.execute_unprepared(&statement).boxed_local();
                _ = futures::poll!(&mut asking);
            }
            drop(open);
            let kept = format!("kept {n}");
            db.write(|tx| {
                let kept = kept.clone();
                async move { insert(&tx, &kept).await }
            })
            .await
            .unwrap();
            assert_eq!(value(db.conn(), &kept).await, Some(0), "{kept}");
            for dropped in [format!("dropped {n}"), format!("also dropped {n}")] {
                assert_eq!(value(db.conn(), &dropped).await, None, "{dropped}");
            }
        }
    }
);
