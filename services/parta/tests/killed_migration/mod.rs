//! `parta migrate` that is killed half-way, and repeated.
use parta_testkit::{TestDatabase, eventually, on_postgres};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement, TransactionTrait as _};

use super::*;

/// A table of the second migration of chat, so that the first one has taken effect when it is created.
const LATER: &str = "entry_archive";
/// A table of the first migration.
const EARLIER: &str = "entry";

/// Counts the sessions of the database that wait for a lock.
const WAITING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
/// Counts the locks that migrations of the database hold or wait for.
const MIGRATING: &str = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_locks.database = pg_database.oid \
                         WHERE locktype = 'advisory' AND datname = current_database()";
const APPLIED: &str = "SELECT count(*) FROM seaql_migrations";

async fn number(database: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let row = database.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

async fn tables(database: &DatabaseConnection, name: &str) -> i64 {
    let named = format!("SELECT count(*) FROM pg_tables WHERE tablename = '{name}'");
    number(database, &named).await
}

/// Starts `parta migrate chat`.
fn migrate(folder: &Path, url: &str) -> Child {
    parta(folder)
        .args(["--profile", "kubernetes", "--set"])
        .arg(format!("chat.database_url={url}"))
        .args(["migrate", "chat"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn succeeds(migration: Child) {
    let ended = migration.wait_with_output().await.unwrap();
    let printed = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{printed}");
}

/// Kills a migration between two of its tables. The session of the server goes on until its statement ends.
/// With `at_once`, the migration is repeated before that.
async fn killed_and_repeated(database: &TestDatabase, at_once: bool) {
    let (folder, url) = (tempfile::tempdir().unwrap(), database.url());
    let [observer, other] = [Database::connect(url).await, Database::connect(url).await].map(Result::unwrap);
    // A migration that creates the same table waits for the end of this transaction.
    let blocking = other.begin().await.unwrap();
    let create = format!("CREATE TABLE {LATER} (id int)");
    blocking.execute_unprepared(&create).await.unwrap();

    let mut killed = migrate(folder.path(), url);
    eventually("a migration that waits for the table", async || {
        (number(&observer, WAITING).await > 0).then_some(())
    })
    .await;
    killed.kill().await.unwrap();
    let repeated = at_once.then(|| migrate(folder.path(), url));
    blocking.rollback().await.unwrap();
    let repeated = match repeated {
        Some(repeated) => repeated,
        None => {
            eventually("the end of the killed session", async || {
                (number(&observer, MIGRATING).await == 0).then_some(())
            })
            .await;
            assert_eq!(
                tables(&observer, EARLIER).await,
                0,
                "nothing was applied by halves"
            );
            migrate(folder.path(), url)
        }
    };
    succeeds(repeated).await;
    assert_eq!(tables(&observer, LATER).await, 1);
    // Nothing is left to apply.
    let applied = number(&observer, APPLIED).await;
    succeeds(migrate(folder.path(), url)).await;
    assert_eq!(number(&observer, APPLIED).await, applied);
    other.close().await.unwrap();
    observer.close().await.unwrap();
}

on_postgres!(
    killed_migration_succeeds_when_it_is_repeated,
    "a killed process leaves no session behind that holds a lock of SQLite",
    |database: TestDatabase| async move {
        killed_and_repeated(&database, false).await;
        killed_and_repeated(&database.another().await, true).await;
    }
);
