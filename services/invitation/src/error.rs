//! The errors of the features and their mapping to documented reasons.
use std::time::Duration;

use parta_database::StorageError;
use parta_ids::{InvitationId, MemberId, UnitId};
use parta_proto::parta::{invitation::v1::ErrorReason, status::v1::ErrorReason as Common};
use parta_status::{RpcError, not_found};
use sea_orm::DbErr;

use crate::invitations::State;

/// Why the service refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The link is unknown, expired, used up or revoked. The holder of the secret does not learn which.
    #[error("the link cannot be used")]
    NotUsable,
    /// Membership refused for this reason.
    #[error("membership refused: {0}")]
    AdmissionRefused(String),
    /// The unit is archived, or members of this role do not join units of its kind.
    #[error("{0} is not open to this role")]
    UnitNotSuitable(UnitId),
    /// The child is not a pupil of the unit.
    #[error("{0} is not a pupil of the unit")]
    ChildNotInUnit(MemberId),
    /// The member is not expected in this role, so the record cannot be claimed.
    #[error("{0} is not expected in this role")]
    MemberNotExpected(MemberId),
    /// The link can no longer be used.
    #[error("the invitation is {0:?}")]
    Closed(State),
    #[error("no invitation {0}")]
    Unknown(InvitationId),
    /// Membership is unavailable; the job finishes the acceptance later.
    #[error("membership is unavailable")]
    AdmissionUnavailable,
    /// A refusal of a library, which already has a reason.
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
            Error::UnitNotSuitable(unit) => RpcError::new(
                ErrorReason::UnitNotSuitable,
                "People in this role cannot join the unit. Choose another unit.",
            )
            .precondition("UNIT", unit.to_string(), "archived or of another kind")
            .meta("unit_id", unit.to_string()),
            Error::ChildNotInUnit(child) => RpcError::new(
                ErrorReason::ChildNotInUnit,
                "The child is not a pupil of the unit. Choose another child or unit.",
            )
            .precondition("CHILD", child.to_string(), "not enrolled in the unit")
            .meta("child_id", child.to_string()),
            Error::MemberNotExpected(member) => RpcError::new(
                ErrorReason::MemberNotExpected,
                "The record does not belong to an expected member in this role. Create the link without it.",
            )
            .precondition("MEMBER", member.to_string(), "not expected in this role")
            .meta("member_id", member.to_string()),
            Error::Closed(state) => RpcError::new(
                ErrorReason::InvitationClosed,
                "The invitation can no longer be used. Create a new one.",
            )
            .precondition("INVITATION", "invitation", state.text())
            .meta("state", state.text()),
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
