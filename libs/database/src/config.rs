use sea_orm::sqlx::postgres::PgConnectOptions;
use serde::Deserialize;

use crate::StorageError;

/// The address of the database and the limits on its use by a process.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `sqlite:///folder/file.db` (or `sqlite:file.db`), or `postgres://user:password@host/database`.
    pub url: String,
    /// The number of connections: on PostgreSQL, half of them are read-only; on SQLite, it is the number of
    /// readers.
    pub max_connections: u32,
    /// The longest duration of one statement on PostgreSQL.
    pub statement_timeout_seconds: u64,
    /// The longest wait for a free connection.
    pub acquire_timeout_seconds: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            max_connections: 16,
            statement_timeout_seconds: 30,
            acquire_timeout_seconds: 10,
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
        // The error of the parser may repeat the address, which carries a password.
        let options: PgConnectOptions = self
            .url
            .parse()
            .map_err(|_| StorageError::Config("url is not postgres://user:password@host/database".into()))?;
        let role = options.get_username().to_owned();
        // The server takes the name of the role where the address names no database.
        let database = options.get_database().unwrap_or(&role).to_owned();
        Ok((role, database))
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
