//! The errors of the service and their mapping to documented reasons.
use std::time::Duration;

use chrono::TimeDelta;
use parta_database::StorageError;
use parta_ids::UnitId;
use parta_proto::parta::{membership::v1::ErrorReason, status::v1::ErrorReason as Common};
use parta_status::{RpcError, not_found};
use sea_orm::DbErr;

/// Why the service refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state of the member, flow or session forbids the act, for this documented reason.
    #[error("{0:?}")]
    State(ErrorReason),
    /// The unit is unknown, archived, or of a kind that does not have such members.
    #[error("unit {0} cannot be used")]
    UnitUnknown(UnitId),
    /// The object does not exist in the organization, or the caller may not know that it exists.
    #[error("no {0} {1}")]
    Unknown(&'static str, String),
    /// A roster import removes so many members that the caller must confirm the number.
    #[error("{0} members would be removed")]
    MassRemoval(i32),
    /// Too many codes or failed attempts for one address.
    #[error("limit {limit} reached")]
    Limited {
        /// The name of the limit.
        limit: &'static str,
        /// The time after which the caller may retry.
        wait: Duration,
    },
    /// A refusal that already has a reason.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Error {
    pub(crate) fn unknown(kind: &'static str, name: impl std::fmt::Display) -> Self {
        Self::Unknown(kind, name.to_string())
    }

    /// The member has left.
    pub(crate) fn member_left() -> Self {
        Self::State(ErrorReason::MemberLeft)
    }

    /// The organization would be left without an administrator.
    pub(crate) fn last_administrator() -> Self {
        Self::State(ErrorReason::LastAdministrator)
    }

    /// The member is not active staff; only active staff can become administrators.
    pub(crate) fn administrator_not_joined() -> Self {
        Self::State(ErrorReason::AdministratorNotJoined)
    }

    /// The member is not a teacher, or has left.
    pub(crate) fn not_a_teacher() -> Self {
        Self::State(ErrorReason::NotATeacher)
    }

    /// The teacher already has the assignment.
    pub(crate) fn already_assigned() -> Self {
        Self::State(ErrorReason::AlreadyAssigned)
    }

    /// The member is not a pupil, or has left.
    pub(crate) fn not_a_pupil() -> Self {
        Self::State(ErrorReason::NotAPupil)
    }

    /// The pupil is already enrolled in the unit.
    pub(crate) fn already_enrolled() -> Self {
        Self::State(ErrorReason::AlreadyEnrolled)
    }

    /// The pupil is not enrolled in the unit.
    pub(crate) fn not_enrolled() -> Self {
        Self::State(ErrorReason::NotEnrolled)
    }

    /// The key of a service account is unknown or was revoked.
    pub(crate) fn service_account_key_invalid() -> Self {
        Self::State(ErrorReason::ServiceAccountKeyInvalid)
    }

    /// The child of a guardianship is not a pupil of the organization.
    pub(crate) fn child_unknown() -> Self {
        Self::State(ErrorReason::ChildUnknown)
    }

    /// The flow is unknown, has expired or was used.
    pub(crate) fn flow_unknown() -> Self {
        Self::State(ErrorReason::FlowUnknown)
    }

    /// The code is not the code of the flow.
    pub(crate) fn code_wrong() -> Self {
        Self::State(ErrorReason::CodeWrong)
    }

    /// A limit of an address is reached. It ends after `wait`.
    pub(crate) fn limited(limit: &'static str, wait: TimeDelta) -> Self {
        Self::Limited {
            limit,
            wait: wait.to_std().unwrap_or_default(),
        }
    }

    /// The session has ended, or the token is not the latest one.
    pub(crate) fn session_ended() -> Self {
        Self::State(ErrorReason::SessionEnded)
    }

    /// The session behind the token of the call has ended.
    pub(crate) fn credential_revoked() -> Self {
        RpcError::new(
            Common::CredentialRevoked,
            "the session behind the token was ended",
        )
        .into()
    }

    /// No account created the join flow.
    pub(crate) fn join_flow_unknown() -> Self {
        Self::State(ErrorReason::JoinFlowUnknown)
    }

    /// The record already belongs to an account.
    pub(crate) fn already_claimed() -> Self {
        Self::State(ErrorReason::AlreadyClaimed)
    }

    /// The installation sends its codes and has no development outbox.
    pub(crate) fn outbox_absent() -> Self {
        Self::State(ErrorReason::OutboxAbsent)
    }

    /// The import cannot be started in its current state.
    pub(crate) fn import_not_startable() -> Self {
        Self::State(ErrorReason::RosterImportNotStartable)
    }

    /// Whether the error is [`Self::child_unknown`].
    pub(crate) fn is_child_unknown(&self) -> bool {
        matches!(self, Self::State(ErrorReason::ChildUnknown))
    }

    /// Maps a unique violation to a conflict, because a concurrent call may insert the same row.
    pub(crate) fn conflict_on_unique(error: StorageError) -> Self {
        match error {
            StorageError::UniqueViolation { .. } => parta_status::conflict().into(),
            error => error.into(),
        }
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Storage(error.into())
    }
}

fn message(reason: ErrorReason) -> &'static str {
    match reason {
        ErrorReason::Unspecified => "The act was refused.",
        ErrorReason::CodeWrong => "The code is wrong.",
        ErrorReason::FlowUnknown => "The sign-in has ended. Ask for another code.",
        ErrorReason::SessionEnded => "The session has ended. Sign in again.",
        ErrorReason::JoinFlowUnknown => "No account stands behind the join flow.",
        ErrorReason::ChildUnknown => "The child of the link is no pupil of the organization.",
        ErrorReason::AlreadyClaimed => "The record was claimed by somebody else.",
        ErrorReason::MemberLeft => "The member has left.",
        ErrorReason::LastAdministrator => "An organization keeps at least one administrator.",
        ErrorReason::AdministratorNotJoined => "Only staff who came in become administrator.",
        ErrorReason::NotATeacher => "The member is no teacher.",
        ErrorReason::NotAPupil => "The member is no pupil.",
        ErrorReason::UnitUnknown => "The unit is unknown, archived, or takes no such people.",
        ErrorReason::AlreadyAssigned => "The teacher has this task already.",
        ErrorReason::AlreadyEnrolled => "The pupil is in the class already.",
        ErrorReason::NotEnrolled => "The pupil is not in the class.",
        ErrorReason::ServiceAccountKeyInvalid => "The key is unknown or was revoked.",
        ErrorReason::OutboxAbsent => "The installation has no development outbox.",
        ErrorReason::RosterImportNotStartable => "The import cannot be started. Check the files again.",
        ErrorReason::RosterImportMassRemoval => {
            "The import removes many members and nobody said that this is meant."
        }
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::State(reason) => {
                let refusal = Self::new(reason, message(reason));
                if refusal.code() == tonic::Code::FailedPrecondition {
                    let subject = reason.as_str_name().trim_start_matches("ERROR_REASON_");
                    return refusal.precondition("STATE", subject, message(reason));
                }
                refusal
            }
            Error::UnitUnknown(unit) => {
                Self::new(ErrorReason::UnitUnknown, message(ErrorReason::UnitUnknown))
                    .precondition("UNIT", unit, "unknown, archived or of another kind")
                    .meta("unit_id", unit)
            }
            Error::MassRemoval(removals) => {
                let why = message(ErrorReason::RosterImportMassRemoval);
                Self::new(ErrorReason::RosterImportMassRemoval, why)
                    .precondition("STATE", "ROSTER_IMPORT_MASS_REMOVAL", why)
                    .meta("removals", removals)
            }
            Error::Unknown(kind, name) => not_found(kind, name),
            Error::Limited { limit, wait } => {
                let why = "Too many codes or tries for this address.";
                Self::new(Common::RateLimited, why)
                    .quota("address", why)
                    .meta("limit", limit)
                    .retry_after(wait)
            }
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
