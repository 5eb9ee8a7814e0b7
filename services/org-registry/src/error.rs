//! The error of all features and its mapping to a refusal. The refusals of one feature are in its `error.rs`.
use parta_database::StorageError;
use parta_ids::OrgId;
use parta_status::{RpcError, not_found};

/// The reasons for which the service refuses a call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no organization {0}")]
    UnknownOrganization(OrgId),
    /// A refusal by a library, which has its own reason.
    #[error(transparent)]
    Refused(#[from] RpcError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownOrganization(id) => not_found("organization", id),
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
