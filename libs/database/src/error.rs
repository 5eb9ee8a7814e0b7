use std::time::Duration;

use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use sea_orm::{DbErr, RuntimeErr, sqlx};

use crate::metrics;

/// A failure of a database operation.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database cannot be reached, or is starting or stopping.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database is at a limit that time or an operator lifts: a statement took too long, the disk is
    /// full, memory or locks are used up, or the server accepts no writes. An immediate retry would add load.
    #[error("the database is at a limit: {0}")]
    Exhausted(String),
    /// The transaction conflicted with others in every attempt.
    #[error("the transaction conflicted in every attempt: {0}")]
    Conflict(String),
    /// A unique constraint of the schema was violated.
    #[error("unique constraint violated: {constraint}")]
    UniqueViolation {
        /// On PostgreSQL, the name of the constraint; on SQLite, `table.column, table.column`.
        constraint: String,
    },
    /// A foreign key was violated: a referenced row does not exist, or a deleted row is still referenced.
    #[error("foreign key violated: {constraint}")]
    ForeignKeyViolation {
        /// On PostgreSQL, the name of the constraint; SQLite does not report it.
        constraint: String,
    },
    /// Another process has the database open.
    #[error("{0} is in use by another process")]
    Locked(String),
    /// The schema is not the one that this build requires.
    #[error("wrong schema: {0}")]
    Schema(String),
    /// A column holds a value that this build does not know: a newer build wrote it, or the row is corrupted.
    #[error("{column} holds {value}, which this build does not know")]
    UnknownValue {
        /// `table.column`.
        column: &'static str,
        /// The numeric value, or the length of a text.
        value: i64,
    },
    /// Stored data is invalid or the library is used incorrectly; a fault of the server.
    #[error("{0}")]
    Fault(String),
    /// The configuration is invalid.
    #[error("database configuration: {0}")]
    Config(String),
    /// The request is refused with a documented reason.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// Any other failure of the database.
    #[error(transparent)]
    Database(DbErr),
}

impl StorageError {
    /// Returns the error for a column (`table.column`) that holds a value unknown to this build. Calls that
    /// read the row are UNAVAILABLE until a build that knows the value serves them, because a guess could
    /// grant more than the row means.
    /// Counts it in the metric `parta.storage.unknown_values`.
    pub fn unknown_value(column: &'static str, value: impl Into<i64>) -> Self {
        metrics::count_unknown_value(column);
        Self::UnknownValue {
            column,
            value: value.into(),
        }
    }

    /// Like [`StorageError::unknown_value`], for a column of text. Only its length is kept, because the text
    /// may be personal data.
    pub fn unknown_text(column: &'static str, text: &str) -> Self {
        Self::unknown_value(column, i64::try_from(text.len()).unwrap_or(i64::MAX))
    }

    /// Returns whether the stored data is at fault and not the database. Work on other rows can continue.
    pub fn is_damaged_data(&self) -> bool {
        match self {
            Self::UnknownValue { .. }
            | Self::Fault(_)
            | Self::UniqueViolation { .. }
            | Self::ForeignKeyViolation { .. } => true,
            Self::Database(error) => is_decoding(error),
            _ => false,
        }
    }

    /// Returns whether the failure is temporary, so that a later retry can succeed.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Exhausted(_) | Self::Conflict(_)
        )
    }

    /// Returns whether an immediate retry can succeed. It cannot when the database is at a limit.
    pub fn is_worth_an_immediate_retry(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
    }
}

/// The class of a driver error, which decides about retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing was committed; an immediate retry can succeed.
    Retry,
    /// The connection broke; it is unknown whether a commit took effect.
    Broken,
    /// The database is at a limit; an immediate retry would add load.
    Exhausted,
    /// Another transaction has committed a row with the same unique key. A run that looks again finds it.
    Duplicate,
    /// A retry cannot succeed.
    Final,
}

fn driver(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(e))
        | DbErr::Exec(RuntimeErr::SqlxError(e))
        | DbErr::Query(RuntimeErr::SqlxError(e)) => Some(e),
        _ => None,
    }
}

pub(crate) fn class(error: &DbErr) -> Class {
    if matches!(error, DbErr::ConnectionAcquire(_)) {
        return Class::Broken;
    }
    driver(error).map_or(Class::Final, class_of_driver)
}

pub(crate) fn class_of_driver(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(e) if e.is_unique_violation() => Class::Duplicate,
        sqlx::Error::Database(e) => e.code().map_or(Class::Final, |code| class_of_code(&code)),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Class::Broken,
        _ => Class::Final,
    }
}

/// Returns whether a stored value could not be decoded.
fn is_decoding(error: &DbErr) -> bool {
    matches!(error, DbErr::Type(_) | DbErr::TryIntoErr { .. })
        || matches!(
            driver(error),
            Some(sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))
        )
}

/// The class of an error code: five characters on PostgreSQL, a number of at most four digits on SQLite.
fn class_of_code(code: &str) -> Class {
    if code.len() != 5 {
        return code.parse().map_or(Class::Final, class_of_sqlite);
    }
    match code {
        // Serialization failure, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => Class::Retry,
        // Shutdown, startup, too many connections, idle timeouts, connection lost.
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25P03" => Class::Broken,
        // A prepared statement whose plan a migration has changed, or that the server no longer has. A new
        // connection prepares it again.
        "0A000" | "26000" => Class::Broken,
        // A statement that took too long; a server that accepts no writes, for example a deposed primary.
        "57014" | "25006" => Class::Exhausted,
        // Class 53, insufficient resources: disk, memory, lock slots. Class 58, system errors: input, output.
        _ if code.starts_with("53") || code.starts_with("58") => Class::Exhausted,
        _ if code.starts_with("08") => Class::Broken,
        _ => Class::Final,
    }
}

/// The class of a primary or extended result code of SQLite, whose lowest byte is the primary code.
pub(crate) fn class_of_sqlite(code: i32) -> Class {
    match code & 0xff {
        // BUSY, LOCKED and PROTOCOL, a race of two that open the log.
        5 | 6 | 15 => Class::Retry,
        // NOMEM, READONLY, IOERR, FULL, CANTOPEN: the disk is full, fails, or is mounted read-only, or
        // descriptors are used up.
        7 | 8 | 10 | 13 | 14 => Class::Exhausted,
        _ => Class::Final,
    }
}

fn constraint(error: &dyn sqlx::error::DatabaseError) -> String {
    match error.constraint() {
        Some(name) => name.to_owned(),
        None => error
            .message()
            .rsplit("failed: ")
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

impl From<DbErr> for StorageError {
    fn from(error: DbErr) -> Self {
        match class(&error) {
            Class::Retry => return Self::Conflict(error.to_string()),
            Class::Broken => return Self::Unavailable(error.to_string()),
            Class::Exhausted => return Self::Exhausted(error.to_string()),
            Class::Duplicate | Class::Final => {}
        }
        match driver(&error) {
            Some(sqlx::Error::Database(e)) if e.is_unique_violation() => Self::UniqueViolation {
                constraint: constraint(e.as_ref()),
            },
            Some(sqlx::Error::Database(e)) if e.is_foreign_key_violation() => Self::ForeignKeyViolation {
                constraint: constraint(e.as_ref()),
            },
            _ => Self::Database(error),
        }
    }
}

impl From<StorageError> for RpcError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Refused(refusal) => refusal,
            StorageError::Unavailable(cause) | StorageError::Exhausted(cause) => {
                tracing::warn!(%cause, "the database is unavailable");
                RpcError::new(
                    ErrorReason::DependencyUnavailable,
                    "The database is unavailable. Try again later.",
                )
                .meta("dependency", "database")
                .retry_after(Duration::from_secs(1))
            }
            StorageError::UnknownValue { column, value } => {
                tracing::warn!(column, value, "a stored value is not known to this build");
                RpcError::new(
                    ErrorReason::StoredValueUnknown,
                    "The data was written by a newer release. Try again after the upgrade.",
                )
                .meta("column", column)
                .retry_after(Duration::from_secs(60))
            }
            StorageError::Conflict(cause) => {
                tracing::info!(%cause, "transaction retries exhausted");
                parta_status::conflict()
            }
            other => RpcError::internal(other),
        }
    }
}
