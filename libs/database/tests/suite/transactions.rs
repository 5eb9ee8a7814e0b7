//! Transactions and file locks, on both databases.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    counter::{insert, migrations, value},
    support::Store,
};
use futures::future::join_all;
use parta_database::{DatabaseConfig, Db, StorageError, Tx};
use parta_testkit::{on_both, on_postgres, on_sqlite};
use sea_orm::{ConnectionTrait, Statement};

/// Reads and writes in two statements. Undetected concurrency would lose an update.
async fn increment(db: &Db, name: &'static str) -> Result<(), StorageError> {
    db.write(|tx| async move {
        let lock = if tx.db().is_postgres() { " FOR UPDATE" } else { "" };
        let sql = format!("SELECT n FROM counter WHERE name = $1{lock}");
        let backend = tx.get_database_backend();
        let row = tx
            .query_one_raw(Statement::from_sql_and_values(backend, sql, [name.into()]))
            .await?;
        let n: i64 = row.unwrap().try_get("", "n")?;
        let sql = "UPDATE counter SET n = $2 WHERE name = $1";
        tx.execute_raw(Statement::from_sql_and_values(
            backend,
            sql,
            [name.into(), (n + 1).into()],
        ))
        .await?;
        Ok(())
    })
    .await
}

// Invariant 1: concurrent writers neither lose updates nor starve, however the database resolves their
// conflicts.
on_both!(concurrent_writes_lose_no_update, |database| async move {
    let store = Store::open(&database, migrations()).await;
    store
        .db
        .write(|tx| async move { insert(&tx, "a").await })
        .await
        .unwrap();
    for result in join_all((0..40).map(|_| increment(&store.db, "a"))).await {
        result.unwrap();
    }
    assert_eq!(value(store.db.conn(), "a").await, Some(40));
});

// Two transactions that lock two rows in opposite orders both succeed: the deadlock victim is retried.
on_both!(deadlock_victim_is_retried, |database| async move {
    let store = Store::open(&database, migrations()).await;
    for name in ["a", "b"] {
        store
            .db
            .write(|tx| async move { insert(&tx, name).await })
            .await
            .unwrap();
    }
    let attempts = AtomicUsize::new(0);
    // On PostgreSQL, both wait here in their first attempt, each with its first row locked.
    let meeting = Arc::new(tokio::sync::Barrier::new(2));
    let both = [["a", "b"], ["b", "a"]].map(|names| {
        let (attempts, meeting, db) = (&attempts, meeting.clone(), &store.db);
        let first = AtomicUsize::new(0);
        async move {
            let (first, meeting) = (&first, &meeting);
            db.write(|tx| async move {
                attempts.fetch_add(1, Ordering::SeqCst);
                for name in names {
                    let sql = "UPDATE counter SET n = n + 1 WHERE name = $1";
                    let backend = tx.get_database_backend();
                    tx.execute_raw(Statement::from_sql_and_values(backend, sql, [name.into()]))
                        .await?;
                    if tx.db().is_postgres() && first.fetch_add(1, Ordering::SeqCst) == 0 {
                        meeting.wait().await;
                    }
                }
                Ok::<_, StorageError>(())
            })
            .await
        }
    });
    for result in join_all(both).await {
        result.unwrap();
    }
    assert_eq!(
        (
            value(store.db.conn(), "a").await,
            value(store.db.conn(), "b").await
        ),
        (Some(2), Some(2))
    );
    // PostgreSQL lets the repetition of the victim overtake the other, which is not awake yet. Then there is
    // a second victim.
    let attempts = attempts.load(Ordering::SeqCst);
    if store.db.is_postgres() {
        assert!(attempts >= 3, "{attempts}");
    } else {
        assert_eq!(attempts, 2);
    }
});

// An error that the closure swallows must not be reported as a success.
on_both!(swallowed_error_is_not_committed, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let result = store
        .db
        .write(|tx| async move {
            insert(&tx, "a").await?;
            drop(insert(&tx, "a").await);
            Ok::<_, StorageError>(())
        })
        .await;
    let Err(StorageError::UniqueViolation { constraint }) = result else {
        panic!("{result:?}")
    };
    assert!(constraint.contains("counter"), "{constraint}");
    assert_eq!(value(store.db.conn(), "a").await, None);
});

// A read sees one snapshot, regardless of concurrent commits.
on_both!(read_sees_one_snapshot, |database| async move {
    let store = Store::open(&database, migrations()).await;
    store
        .db
        .write(|tx| async move { insert(&tx, "a").await })
        .await
        .unwrap();
    let db = &store.db;
    let seen = db
        .read(|tx| async move {
            let before = value(&tx, "a").await;
            increment(db, "a").await?;
            Ok::<_, StorageError>((before, value(&tx, "a").await))
        })
        .await
        .unwrap();
    assert_eq!(
        (seen, value(store.db.conn(), "a").await),
        ((Some(0), Some(0)), Some(1))
    );
});

// All rows of a transaction have the same time.
on_both!(transaction_has_one_time, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (db, clock) = (&store.db, &store.clock);
    let (first, last) = db
        .write(|tx| async move {
            let first = tx.now();
            clock.advance(chrono::TimeDelta::hours(1));
            Ok::<_, StorageError>((first, tx.now()))
        })
        .await
        .unwrap();
    assert_eq!(first, last);
    assert!(db.env().now() > last);
});

// Repeated migration changes nothing.
on_both!(repeated_migration_changes_nothing, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let before = store.db.epoch().await.unwrap();
    store.db.migrate(migrations()).await.unwrap();
    assert_eq!(store.db.epoch().await.unwrap(), before);
    store.db.expire_cursors().await.unwrap();
    assert_ne!(store.db.epoch().await.unwrap(), before);
});

// Replicas that start together migrate once.
on_both!(concurrent_migrations_run_once, |database| async move {
    let store = Store::open(&database, parta_database::migrations()).await;
    let all = join_all((0..4).map(|_| store.db.migrate(migrations()))).await;
    for result in all {
        result.unwrap();
    }
    store.db.check_schema(&migrations()).await.unwrap();
});

// The file belongs to one process, and its readers cannot write.
on_sqlite!(
    file_is_locked,
    "only SQLite keeps its data in a file of ours",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let second = Db::connect(
            &DatabaseConfig::new(database.url()),
            "test",
            crate::support::secrets(),
            store.db.env().clone(),
        )
        .await;
        assert!(matches!(second, Err(StorageError::Locked(_))), "{second:?}");
        let past = store
            .db
            .conn()
            .execute_unprepared("INSERT INTO counter (name, n) VALUES ('x', 0)")
            .await;
        assert!(past.unwrap_err().to_string().contains("readonly"));
        store.db.close().await;
        let third = Db::connect(
            &DatabaseConfig::new(database.url()),
            "test",
            crate::support::secrets(),
            store.db.env().clone(),
        )
        .await
        .unwrap();
        third.close().await;
    }
);

// Writers acquire the lock in FIFO order.
on_sqlite!(
    write_lock_is_fair,
    "PostgreSQL has no write lock: its writers run at the same time",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let write_lock = store.db.write_lock();
        let guard = write_lock.acquire().await;
        let order = std::sync::Mutex::new(Vec::new());
        let waiting = join_all((0..10).map(|n| {
            let order = &order;
            async move {
                let _guard = write_lock.acquire().await;
                order.lock().unwrap().push(n);
            }
        }));
        tokio::join!(waiting, async { drop(guard) });
        assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
    }
);

// A closure that is dropped halfway leaves the database writable and unchanged.
on_both!(abandoned_write_is_rolled_back, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (inside, reached) = tokio::sync::oneshot::channel::<()>();
    let inside = std::sync::Mutex::new(Some(inside));
    let inside = &inside;
    let write = store.db.write(|tx| async move {
        insert(&tx, "a").await?;
        drop(inside.lock().unwrap().take());
        std::future::pending::<Result<(), StorageError>>().await
    });
    tokio::select! {
        _ = write => panic!("it waits for ever"),
        _ = reached => {}
    }
    store
        .db
        .write(|tx| async move { insert(&tx, "b").await })
        .await
        .unwrap();
    assert_eq!(
        (
            value(store.db.conn(), "a").await,
            value(store.db.conn(), "b").await
        ),
        (None, Some(0))
    );
});

/// Runs one statement in a write transaction. Returns its error, and how often the transaction ran.
async fn failure_of(db: &Db, sql: &str) -> (StorageError, usize) {
    let runs = AtomicUsize::new(0);
    let counted = &runs;
    let result = db
        .write(|tx| async move {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, StorageError>(tx.execute_unprepared(sql).await.map(|_| ())?)
        })
        .await;
    (result.unwrap_err(), runs.into_inner())
}

on_postgres!(
    limit_of_the_server_is_temporary,
    "raises the error codes of PostgreSQL",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let raise = |code: &str| format!("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$");
        let read_only = "SET LOCAL transaction_read_only = on; CREATE TABLE t (n INT)".to_owned();
        let slow = "SET LOCAL statement_timeout = 10; SELECT pg_sleep(60)".to_owned();
        let limits = ["53100", "53200", "58030"].map(raise);
        for sql in limits.iter().chain([&read_only, &slow]) {
            let (error, runs) = failure_of(&store.db, sql).await;
            assert!(matches!(error, StorageError::Exhausted(_)), "{sql}: {error:?}");
            // A repetition would keep the server at its limit, for the slow statement six times as long.
            assert_eq!(runs, 1, "{sql}");
            assert!(
                error.is_transient() && !error.is_worth_an_immediate_retry(),
                "{sql}"
            );
        }
        let (error, _) = failure_of(&store.db, &raise("53300")).await;
        assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
        let (error, _) = failure_of(&store.db, &raise("22012")).await;
        assert!(matches!(error, StorageError::Database(_)), "{error:?}");
    }
);

on_sqlite!(
    full_disk_is_temporary,
    "a file that may not grow, which SQLite reports like a full disk",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let fill = "INSERT INTO counter (name, n) VALUES (hex(randomblob(20000)), 1)";
        let limit = |tx: Tx| async move {
            tx.execute_unprepared("PRAGMA max_page_count = 1").await?;
            tx.execute_unprepared(fill).await?;
            tx.execute_unprepared(fill).await?;
            Ok::<_, StorageError>(())
        };
        let error = store.db.write(limit).await.unwrap_err();
        assert!(matches!(error, StorageError::Exhausted(_)), "{error:?}");
        let writer = store.db.sqlite_writer().unwrap();
        let limit = |tx: &rusqlite::Transaction<'_>| {
            tx.pragma_update(None, "max_page_count", 1)?;
            tx.execute(fill, [])?;
            tx.execute(fill, [])
        };
        let error = writer.write(limit).await.unwrap_err();
        assert!(matches!(error, StorageError::Exhausted(_)), "{error:?}");
    }
);
