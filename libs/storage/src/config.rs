use serde::Deserialize;

/// Where the database is and how much of it a process may use.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `sqlite:///folder/file.db` (or `sqlite:file.db`), or `postgres://user:password@host/database`.
    pub url: String,
    /// Connections of this process to PostgreSQL, half of them to read only; or readers of the SQLite file.
    pub max_connections: u32,
    /// Longest that one statement may take on PostgreSQL.
    pub statement_timeout_seconds: u64,
    /// Longest that a call waits for a free connection.
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
    /// The defaults with this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// Whether the address names a PostgreSQL database.
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
