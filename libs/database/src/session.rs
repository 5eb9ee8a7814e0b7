//! Opens sessions of PostgreSQL with the settings that every one of them has.
use std::{future::Future, io, time::Duration};

use sea_orm::{
    DatabaseConnection, SqlxPostgresConnector,
    sqlx::{
        self, AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection,
        postgres::{PgConnectOptions, PgPoolOptions},
    },
};

use crate::{DatabaseConfig, StorageError};

/// Makes a transaction that decides again after a conflict see what the other one has committed.
const OF_WRITERS: &str = "SET default_transaction_isolation = 'read committed'; \
                          RESET default_transaction_read_only";
/// Makes a read transaction a read-only snapshot. Statements of each transaction would cost two round trips.
const OF_READERS: &str = "SET default_transaction_isolation = 'repeatable read'; \
                          SET default_transaction_read_only = on";
/// The server detects a dead client as well, so that the locks of the client do not outlive it for long. A
/// transaction is idle only while this process computes: it makes no call inside.
const OF_ALL: &str = "SET idle_in_transaction_session_timeout = 15000; SET tcp_user_timeout = 20000; \
                      SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; \
                      SET tcp_keepalives_count = 3";

/// Opens sessions of one kind. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Opener {
    options: PgConnectOptions,
    /// Sets the session up, in one round trip. Not in the startup message: PgBouncer refuses settings there.
    setup: String,
    statement_timeout: Duration,
    reply_timeout: Duration,
}

impl Opener {
    /// Opens sessions whose transactions are read-only snapshots.
    pub(crate) fn reader(config: &DatabaseConfig, service: &str) -> Result<Self, StorageError> {
        Self::new(config, service, OF_READERS)
    }

    pub(crate) fn writer(config: &DatabaseConfig, service: &str) -> Result<Self, StorageError> {
        Self::new(config, service, OF_WRITERS)
    }

    fn new(config: &DatabaseConfig, service: &str, setup: &str) -> Result<Self, StorageError> {
        let options = config
            .postgres_options()?
            .application_name(&format!("parta-{service}"))
            // PgBouncer refuses it too, and it is for servers older than PostgreSQL 12.
            .extra_float_digits(None)
            .disable_statement_logging();
        let statement_timeout = config.statement_timeout.max(Duration::from_millis(1));
        let limit = set_statement_timeout(statement_timeout);
        Ok(Self {
            options,
            setup: format!("{setup}; {OF_ALL}; {limit}"),
            statement_timeout,
            reply_timeout: config.reply_timeout,
        })
    }

    /// Opens a session. It is one attempt, with a deadline.
    pub(crate) async fn open(&self) -> Result<PgConnection, sqlx::Error> {
        let opened = async {
            let mut connection = self.options.connect().await?;
            connection.execute(AssertSqlSafe(self.setup.clone())).await?;
            Ok(connection)
        };
        reply_within(self.reply_timeout, opened).await
    }

    /// Returns a pool of one connection of the driver, which opens at the first use and closes with the last
    /// handle.
    pub(crate) fn driver_pool(&self, acquire_timeout: Duration) -> DatabaseConnection {
        let setup = self.setup.clone();
        let options = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(acquire_timeout)
            .after_connect(move |connection, _| {
                let setup = setup.clone();
                Box::pin(async move { connection.execute(AssertSqlSafe(setup)).await.map(drop) })
            });
        SqlxPostgresConnector::from_sqlx_postgres_pool(options.connect_lazy_with(self.options.clone()))
    }

    /// The time after which the server ends a statement.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// The longest wait for a reply that the server owes at once.
    pub(crate) fn reply_timeout(&self) -> Duration {
        self.reply_timeout
    }
}

/// Returns the statement that sets the time after which the server ends a statement of the session.
pub(crate) fn set_statement_timeout(limit: Duration) -> String {
    format!("SET statement_timeout = {}", limit.as_millis())
}

/// Waits for a reply of the server. If none arrives within the limit, the connection is lost.
pub(crate) async fn reply_within<T>(
    limit: Duration,
    reply: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let replied = tokio::time::timeout(limit, reply).await;
    replied.unwrap_or_else(|_| Err(lost(format!("no reply within {} ms", limit.as_millis()))))
}

/// The error of a connection that was given up.
pub(crate) fn lost(cause: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, cause.into()))
}

/// Returns whether a connection was given up because no reply arrived.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(e) if e.kind() == io::ErrorKind::TimedOut)
}
