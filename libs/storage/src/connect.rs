//! Opens the pools and makes sure that the settings that durability rests on are really in force.
use std::{path::PathBuf, time::Duration};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement, sqlx};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::{DatabaseConfig, StorageError, lock::FileLock};

/// A pool to read from and one to write to; on PostgreSQL they are the same.
pub(crate) struct Pools {
    pub(crate) reader: DatabaseConnection,
    pub(crate) writer: DatabaseConnection,
    pub(crate) lock: Option<FileLock>,
}

fn options(config: &DatabaseConfig) -> ConnectOptions {
    let url = config.url.replacen("postgresql://", "postgres://", 1);
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .acquire_timeout(Duration::from_secs(config.acquire_timeout_seconds.max(1)));
    options
}

pub(crate) async fn postgres(config: &DatabaseConfig, service: &'static str) -> Result<Pools, StorageError> {
    let mut options = options(config);
    options
        .max_connections(config.max_connections.max(2))
        .connect_lazy(true)
        .set_application_name(format!("parta-{service}"))
        .statement_timeout(Duration::from_secs(config.statement_timeout_seconds.max(1)))
        .map_sqlx_postgres_opts(|o| {
            // A dead peer is noticed by the server as well, so that its locks do not outlive it.
            o.options([
                ("idle_in_transaction_session_timeout", "60000"),
                ("tcp_user_timeout", "20000"),
                ("tcp_keepalives_idle", "10"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "3"),
            ])
        });
    let pool = Database::connect(options).await?;
    Ok(Pools {
        reader: pool.clone(),
        writer: pool,
        lock: None,
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

pub(crate) async fn sqlite(config: &DatabaseConfig) -> Result<Pools, StorageError> {
    let lock = FileLock::take(&file_of(&config.url)?).await?;

    let mut write = options(config);
    write
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .map_sqlx_sqlite_opts(|o| {
            o.create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(Duration::from_secs(5))
        });
    let writer = Database::connect(write).await?;

    let mut read = options(config);
    read.max_connections(config.max_connections.max(2))
        .idle_timeout(None)
        .max_lifetime(None)
        .map_sqlx_sqlite_opts(|o| {
            o.foreign_keys(true)
                .pragma("query_only", "ON")
                .busy_timeout(Duration::from_secs(5))
        });
    let reader = Database::connect(read).await?;

    for (connection, pragma, want) in [
        (&writer, "journal_mode", "wal"),
        (&writer, "synchronous", "2"),
        (&writer, "foreign_keys", "1"),
        (&reader, "journal_mode", "wal"),
        (&reader, "query_only", "1"),
    ] {
        let found = read_pragma(connection, pragma).await?;
        if found != want {
            return Err(StorageError::Config(format!(
                "PRAGMA {pragma} is {found}, must be {want}"
            )));
        }
    }
    Ok(Pools {
        reader,
        writer,
        lock: Some(lock),
    })
}

async fn read_pragma(connection: &DatabaseConnection, pragma: &str) -> Result<String, StorageError> {
    let statement = Statement::from_string(connection.get_database_backend(), format!("PRAGMA {pragma}"));
    let row = connection.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| StorageError::Fault(format!("PRAGMA {pragma} answers nothing")))?;
    Ok(match row.try_get_by_index::<String>(0) {
        Ok(text) => text,
        Err(_) => row.try_get_by_index::<i64>(0)?.to_string(),
    })
}
