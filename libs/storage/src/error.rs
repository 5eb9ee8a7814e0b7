use std::time::Duration;

use parta_proto::parta::status::v1::ErrorReason;
use parta_status::RpcError;
use sea_orm::{DbErr, RuntimeErr, sqlx};

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database does not answer, is starting or stopping, or was too slow.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The transaction lost its race as often as it was retried.
    #[error("the transaction kept losing a race: {0}")]
    Conflict(String),
    /// A unique rule of the schema was broken.
    #[error("unique rule broken: {constraint}")]
    UniqueViolation {
        /// PostgreSQL: the constraint's name. SQLite: `table.column, table.column`.
        constraint: String,
    },
    /// A row that is referred to does not exist, or is still referred to.
    #[error("foreign key broken: {constraint}")]
    ForeignKeyViolation {
        /// PostgreSQL: the constraint's name. SQLite does not tell.
        constraint: String,
    },
    /// Another process has the database open.
    #[error("{0} is in use by another process")]
    Locked(String),
    /// The schema is not the one that this program was built for.
    #[error("wrong schema: {0}")]
    Schema(String),
    /// A column holds a value that this build does not know: a newer one wrote it, or the row was damaged.
    #[error("{column} holds {value}, which this build does not know")]
    UnknownValue {
        /// `table.column`.
        column: &'static str,
        /// The number of the value.
        value: i64,
    },
    /// What is stored, or how the library is used, is wrong; a fault of ours.
    #[error("{0}")]
    Fault(String),
    /// The configuration cannot work.
    #[error("database configuration: {0}")]
    Config(String),
    /// The request itself is refused, with a documented reason.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// Any other failure of the database.
    #[error(transparent)]
    Database(DbErr),
}

impl StorageError {
    /// A column (`table.column`) that holds a value which this build does not know. Calls about that row are UNAVAILABLE
    /// until a build that knows it serves them: a guess could give somebody more than the row means.
    pub fn unknown_value(column: &'static str, value: impl Into<i64>) -> Self {
        Self::UnknownValue {
            column,
            value: value.into(),
        }
    }

    /// Whether the failure may pass by itself, so that repeating later makes sense.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
    }
}

/// What a driver's error means to the code that retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing was committed; the same work may succeed at once.
    Retry,
    /// The connection broke; whether a commit took effect is unknown.
    Broken,
    /// The server gave up on a statement that took too long; to repeat it at once would make things worse.
    Slow,
    /// Repeating changes nothing.
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
            // PostgreSQL: shut down, starting, too many connections, idle too long, connection lost.
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
                    "The database does not answer.",
                )
                .meta("dependency", "database")
                .retry_after(Duration::from_secs(1))
            }
            StorageError::UnknownValue { column, value } => {
                tracing::warn!(column, value, "a stored value is not known to this build");
                RpcError::new(
                    ErrorReason::StoredValueUnknown,
                    "The data was written by a newer release. Try again when the upgrade has ended.",
                )
                .meta("column", column)
                .retry_after(Duration::from_secs(60))
            }
            StorageError::Conflict(cause) => {
                tracing::info!(%cause, "a transaction kept losing its race");
                RpcError::new(
                    ErrorReason::Conflict,
                    "The operation lost a race with another one.",
                )
            }
            other => RpcError::internal(other),
        }
    }
}
