//! Opens the databases. On SQLite, it verifies that the settings that durability depends on are in force;
//! [`crate::server`] does so on PostgreSQL.
use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    time::Duration,
};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement, sqlx};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::{
    Connection, DatabaseConfig, StorageError, connection_cache::IDLE_CHECK_AFTER, lock::FileLock,
    session::Opener,
};

/// The connections of one database. On SQLite, the writer is a single connection.
pub(crate) struct Pools {
    pub(crate) reader: Connection,
    pub(crate) writer: Connection,
    /// Keeps other processes away from the SQLite file; `None` on PostgreSQL.
    pub(crate) lock: Option<FileLock>,
    /// The SQLite file; `None` on PostgreSQL.
    pub(crate) file: Option<PathBuf>,
}

/// The time for which a connection waits for another connection that has locked the SQLite file.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

fn options(config: &DatabaseConfig) -> ConnectOptions {
    let mut options = ConnectOptions::new(config.url.clone());
    options
        .sqlx_logging(false)
        .acquire_timeout(config.acquire_timeout);
    options
}

pub(crate) fn postgres(config: &DatabaseConfig, service: &'static str) -> Result<Pools, StorageError> {
    let readers = (config.max_connections / 2).max(2);
    let writers = config.max_connections.saturating_sub(readers).max(2);
    let pool = |opener, connections| Connection::postgres(opener, connections, config.acquire_timeout);
    Ok(Pools {
        reader: pool(Opener::reader(config, service)?, readers),
        writer: pool(Opener::writer(config, service)?, writers),
        lock: None,
        file: None,
    })
}

fn file_of(url: &str) -> Result<PathBuf, StorageError> {
    let parsed: SqliteConnectOptions = url
        .parse()
        .map_err(|e| StorageError::Config(format!("{url}: {e}")))?;
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(StorageError::Config(
            "a database in memory keeps no promise: name a file".into(),
        ));
    }
    Ok(parsed.get_filename().to_owned())
}

/// Creates the file if it is missing. Only its owner can read it, and SQLite gives the same rights to the
/// files beside it.
fn create_private(file: &Path) -> Result<(), StorageError> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StorageError::Config(format!("{}: {error}", file.display())))
        }
        _ => Ok(()),
    }
}

pub(crate) async fn sqlite(config: &DatabaseConfig) -> Result<Pools, StorageError> {
    let file = file_of(&config.url)?;
    let lock = FileLock::take(&file).await?;
    create_private(&file)?;

    let mut write = options(config);
    write
        .test_before_acquire_if_idle_for(IDLE_CHECK_AFTER)
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .map_sqlx_sqlite_opts(|o| {
            o.create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(BUSY)
        });
    let writer = Database::connect(write).await?;

    let mut read = options(config);
    read.test_before_acquire_if_idle_for(IDLE_CHECK_AFTER)
        .max_connections(config.max_connections.max(2))
        .idle_timeout(None)
        .max_lifetime(None)
        .map_sqlx_sqlite_opts(|o| o.foreign_keys(true).pragma("query_only", "ON").busy_timeout(BUSY));
    let reader = Database::connect(read).await?;

    for (connection, pragma, want) in [
        (&writer, "journal_mode", "wal"),
        // 2 is FULL.
        (&writer, "synchronous", "2"),
        (&writer, "foreign_keys", "1"),
        (&reader, "journal_mode", "wal"),
        (&reader, "query_only", "1"),
    ] {
        let found = read_pragma(connection, pragma).await?;
        if found != want {
            return Err(StorageError::Config(format!(
                "{pragma} is {found}, must be {want}"
            )));
        }
    }
    Ok(Pools {
        reader: Connection::sqlite(reader),
        writer: Connection::sqlite(writer),
        lock: Some(lock),
        file: Some(file),
    })
}

async fn read_pragma(connection: &DatabaseConnection, pragma: &str) -> Result<String, StorageError> {
    let statement = Statement::from_string(connection.get_database_backend(), format!("PRAGMA {pragma}"));
    let row = connection.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| StorageError::Fault(format!("no row for PRAGMA {pragma}")))?;
    Ok(match row.try_get_by_index::<String>(0) {
        Ok(text) => text,
        Err(_) => row.try_get_by_index::<i64>(0)?.to_string(),
    })
}
