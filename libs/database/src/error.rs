use std::time::Duration;

use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use sea_orm::{DbErr, RuntimeErr, sqlx};

use crate::metrics;

/// A failure of a database operation.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database cannot be reached, is starting or stopping, or exceeded a time limit.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
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
        /// The numeric value.
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

    /// Returns whether the failure is temporary, so that a later retry can succeed.
    pub fn is_transient(&self) -> bool {
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
    /// The server canceled a statement that took too long; an immediate retry would add load.
    Slow,
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
    match driver(error) {
        Some(sqlx::Error::Database(e)) => match e.code().as_deref() {
            // PostgreSQL: serialization failure, deadlock, lock not available.
            Some("40001" | "40P01" | "55P03") => Class::Retry,
            // SQLite: BUSY, LOCKED and their extended forms (snapshot, recovery, timeout, shared cache).
            Some("5" | "6" | "261" | "262" | "517" | "773") => Class::Retry,
            // PostgreSQL: shutdown, startup, too many connections, idle timeout, connection lost.
            Some("57P01" | "57P02" | "57P03" | "53300" | "25P03") => Class::Broken,
            Some("57014") => Class::Slow,
            Some(code) if code.len() == 5 && code.starts_with("08") => Class::Broken,
            _ => Class::Final,
        },
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed,
        ) => Class::Broken,
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
            Class::Broken | Class::Slow => return Self::Unavailable(error.to_string()),
            Class::Final => {}
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
            StorageError::Unavailable(cause) => {
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
                RpcError::new(
                    ErrorReason::Conflict,
                    "The operation conflicted with another one. Try again.",
                )
            }
            other => RpcError::internal(other),
        }
    }
}
