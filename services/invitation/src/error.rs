//! The error of all features and its mapping to a refusal. The refusals of one feature are in its `error.rs`.
use std::time::Duration;

use parta_database::StorageError;
use parta_ids::InvitationId;
use parta_proto::status::v1::ErrorReason as Common;
use parta_proto_invitation::v1::ErrorReason;
use parta_status::{RpcError, not_found};
use sea_orm::DbErr;

/// The reason of membership, and of a released use, for a link that was revoked or stopped while its
/// acceptance was on the way.
pub(crate) const INVITATION_ENDED: &str = "INVITATION_ENDED";
/// The reason of membership for a person who has made too many requests by a link.
pub(crate) const RATE_LIMITED: &str = "RATE_LIMITED";

/// The reasons why the service refuses a call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The link is unknown, expired, used up or revoked. The holder of the secret does not learn which.
    #[error("the link cannot be used")]
    NotUsable,
    /// Membership refused for this reason. Another acceptance may succeed after the delay.
    #[error("membership refused: {0}")]
    AdmissionRefused(String, Option<Duration>),
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
            // The holder of a link that ended meanwhile gets the same refusal as for any unusable link.
            Error::AdmissionRefused(reason, _) if reason == INVITATION_ENDED => Error::NotUsable.into(),
            Error::AdmissionRefused(reason, retry_after) => {
                let why = if reason == RATE_LIMITED {
                    "You have asked too often by this invitation. Try again in a day."
                } else {
                    "The organization did not accept this invitation. Contact the person who sent it."
                };
                let refusal = RpcError::new(ErrorReason::AdmissionRefused, why)
                    .precondition("ADMISSION", "invitation", &reason)
                    .meta("membership_reason", reason);
                match retry_after {
                    Some(delay) => refusal.retry_after(delay),
                    None => refusal,
                }
            }
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
