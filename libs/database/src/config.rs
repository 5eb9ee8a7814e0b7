use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnectOptions;

use crate::StorageError;

/// The address of the database and the limits on its use by a process.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// `sqlite:///folder/file.db` (or `sqlite:file.db`), or `postgres://user:password@host/database`.
    pub url: String,
    /// The number of connections: on PostgreSQL, half of them are read-only; on SQLite, it is the number of
    /// readers.
    pub max_connections: u32,
    /// The longest duration of one statement on PostgreSQL. The server ends a longer one, so that a slow
    /// statement is not mistaken for a lost host.
    pub statement_timeout: Duration,
    /// The longest wait for a free connection, including the attempts to open one.
    pub acquire_timeout: Duration,
    /// The longest wait for a reply that PostgreSQL owes at once: to a login, a ping, BEGIN or ROLLBACK. A
    /// statement may take this long beyond `statement_timeout`. A connection without a reply is given up.
    pub reply_timeout: Duration,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            max_connections: 16,
            statement_timeout: Duration::from_secs(30),
            acquire_timeout: Duration::from_secs(10),
            reply_timeout: Duration::from_secs(5),
        }
    }
}

impl DatabaseConfig {
    /// Returns the default configuration for this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// Returns the role and the database that the address of a PostgreSQL server names.
    pub fn role_and_database(&self) -> Result<(String, String), StorageError> {
        let options = self.postgres_options()?;
        let role = options.get_username().to_owned();
        // The server takes the name of the role where the address names no database.
        let database = options.get_database().unwrap_or(&role).to_owned();
        Ok((role, database))
    }

    /// Returns the address of a PostgreSQL server as options of the driver.
    pub(crate) fn postgres_options(&self) -> Result<PgConnectOptions, StorageError> {
        // The error of the parser may repeat the address, which carries a password.
        let unreadable = |_| StorageError::Config("url is not postgres://user:password@host/database".into());
        self.url.parse().map_err(unreadable)
    }

    /// Returns whether the address names a PostgreSQL database.
    pub fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres://") || self.url.starts_with("postgresql://")
    }
}

impl std::fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A PostgreSQL address carries a password.
        let url = if self.is_postgres() {
            "postgres://***"
        } else {
            self.url.as_str()
        };
        f.debug_struct("DatabaseConfig")
            .field("url", &url)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
