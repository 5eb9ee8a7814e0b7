//! The error of all features and its mapping to a refusal. The refusals of one feature are in its `error.rs`.
use parta_database::StorageError;
use parta_ids::ChatId;
use parta_status::{RpcError, not_found};
use sea_orm::DbErr;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The chat does not exist, or the caller may not know of it.
    #[error("chat {0} not found")]
    UnknownChat(ChatId),
    /// A refusal with a reason of its own.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownChat(chat) => not_found("chat", chat),
            Error::Refused(refusal) => refusal,
            Error::Storage(error) => error.into(),
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        RpcError::from(error).into()
    }
}
