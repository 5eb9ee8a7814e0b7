//! Why the service refuses, and the one mapping to documented reasons.
use std::time::Duration;

use parta_ids::{InvitationId, MemberId, UnitId};
use parta_proto::parta::{invitation::v1::ErrorReason, status::v1::ErrorReason as Common};
use parta_status::{RpcError, not_found};
use parta_storage::StorageError;
use sea_orm::DbErr;

use crate::invitations::model::State;

/// Why the service refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unknown, expired, used up or annulled: an outsider is not told which.
    #[error("the link cannot be used")]
    NotUsable,
    /// Membership refused for this reason.
    #[error("membership refused: {0}")]
    AdmissionRefused(String),
    /// The unit does not take people of this role.
    #[error("{0} does not take people of this role")]
    UnitNotSuitable(UnitId),
    /// The child is no pupil of the unit.
    #[error("{0} is no pupil of the unit")]
    ChildNotInUnit(MemberId),
    /// The record cannot be claimed.
    #[error("{0} is not expected in this role")]
    MemberNotExpected(MemberId),
    /// The link admits nobody any more.
    #[error("the invitation is {0:?}")]
    Closed(State),
    /// There is no such invitation in the organization.
    #[error("no invitation {0}")]
    Unknown(InvitationId),
    /// Membership does not answer; the acceptance will be finished later.
    #[error("membership does not answer")]
    AdmissionUnavailable,
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
                "The organization could not let you in by this invitation. Ask whoever sent it.",
            )
            .precondition("ADMISSION", "invitation", &reason)
            .meta("membership_reason", reason),
            Error::UnitNotSuitable(unit) => RpcError::new(
                ErrorReason::UnitNotSuitable,
                "The unit does not take people of this role.",
            )
            .precondition("UNIT", unit.to_string(), "archived or of another kind")
            .meta("unit_id", unit.to_string()),
            Error::ChildNotInUnit(child) => {
                RpcError::new(ErrorReason::ChildNotInUnit, "The child is no pupil of the unit.")
                    .precondition("CHILD", child.to_string(), "not enrolled in the unit")
                    .meta("child_id", child.to_string())
            }
            Error::MemberNotExpected(member) => RpcError::new(
                ErrorReason::MemberNotExpected,
                "The record is not an expected member of this role.",
            )
            .precondition("MEMBER", member.to_string(), "not expected in this role")
            .meta("member_id", member.to_string()),
            Error::Closed(state) => RpcError::new(
                ErrorReason::InvitationClosed,
                "The invitation admits nobody any more.",
            )
            .precondition("INVITATION", "invitation", state.text())
            .meta("state", state.text()),
            Error::Unknown(id) => not_found("invitation", id),
            Error::AdmissionUnavailable => RpcError::new(
                Common::DependencyUnavailable,
                "The acceptance has been noted and will be finished. Ask again in a moment.",
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
