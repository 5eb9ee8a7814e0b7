//! The error of all features and its mapping to a refusal. The refusals of one feature are in its `error.rs`.
use std::time::Duration;

use parta_database::StorageError;
use parta_ids::InvitationId;
use parta_proto::status::v1::ErrorReason as Common;
use parta_proto_invitation::v1::ErrorReason;
use parta_status::{RpcError, not_found};
use sea_orm::DbErr;

/// Why the service refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The link is unknown, expired, used up or revoked. The holder of the secret does not learn which.
    #[error("the link cannot be used")]
    NotUsable,
    /// Membership refused for this reason.
    #[error("membership refused: {0}")]
    AdmissionRefused(String),
    #[error("no invitation {0}")]
    Unknown(InvitationId),
    /// Membership is unavailable; the job finishes the acceptance later.
    #[error("membership is unavailable")]
    AdmissionUnavailable,
    /// A refusal with a reason of its own.
    #[error(transparent)]
    Refused(#[from] RpcError),
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
            Error::NotUsable => {
                let why = "This invitation cannot be used. Ask for another one.";
                RpcError::new(ErrorReason::InvitationNotUsable, why).precondition(
                    "INVITATION",
                    "invitation",
                    why,
                )
            }
            Error::AdmissionRefused(reason) => RpcError::new(
                ErrorReason::AdmissionRefused,
                "The organization did not accept this invitation. Contact the person who sent it.",
            )
            .precondition("ADMISSION", "invitation", &reason)
            .meta("membership_reason", reason),
            Error::Unknown(id) => not_found("invitation", id),
            Error::AdmissionUnavailable => RpcError::new(
                Common::DependencyUnavailable,
                "The acceptance is being processed. Repeat the request in a few seconds.",
            )
            .meta("dependency", "membership")
            .retry_after(Duration::from_secs(2)),
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
