//! The lock between the processes that serve a database and a command that replaces it.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use parta_database::{DatabaseConfig, DatabaseLock, Db, StorageError};
use parta_ids::Env;
use parta_testkit::{TestDatabase, on_postgres, on_sqlite};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::support::secrets;

async fn connect(database: &TestDatabase) -> Db {
    Db::connect(
        &DatabaseConfig::new(database.url()),
        "test",
        secrets(),
        Env::system(),
    )
    .await
    .unwrap()
}

fn is_locked(result: &Result<Option<DatabaseLock>, StorageError>) -> bool {
    matches!(result, Err(StorageError::Locked(_)))
}

on_postgres!(
    command_and_serving_processes_exclude_each_other,
    "the file lock does it",
    |database| async move {
        let (one, two) = (connect(&database).await, connect(&database).await);
        let serving = one.lock_to_serve().await.unwrap().unwrap();
        let also = two.lock_to_serve().await.unwrap().unwrap();
        assert!(is_locked(&two.lock_to_replace().await));
        serving.release().await;
        // The connection of a process that is killed ends.
        drop(also);
        let command = two.lock_to_replace().await.unwrap().unwrap();
        assert!(is_locked(&one.lock_to_serve().await));
        assert!(is_locked(&one.lock_to_replace().await), "two commands");
        command.release().await;
        one.lock_to_serve().await.unwrap().unwrap().release().await;
        for db in [one, two] {
            db.close().await;
        }
    }
);

on_postgres!(
    process_notices_that_its_lock_was_lost,
    "the file lock ends with the process",
    |database| async move {
        let db = connect(&database).await;
        let mut lock = db.lock_to_serve().await.unwrap().unwrap();
        lock.check().await.unwrap();
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let ended = db.conn().query_all_raw(Statement::from_string(db.backend(), sql));
        assert_eq!(ended.await.unwrap().len(), 1);
        lock.lost().await;
        lock.check().await.unwrap_err();
        db.close().await;
    }
);

on_sqlite!(
    file_is_locked_by_its_opening,
    "PostgreSQL has a lock of its own",
    |database| async move {
        let db = connect(&database).await;
        assert!(db.lock_to_serve().await.unwrap().is_none());
        assert!(db.lock_to_replace().await.unwrap().is_none());
        db.close().await;
    }
);
