//! The error of the service and its mapping to a status. Each feature states its refusals in its own
//! `error.rs` (docs/adr/0011).
use parta_database::StorageError;
use parta_ids::UnitId;
use parta_proto_membership::v1::ErrorReason;
use parta_status::{RpcError, not_found};
use sea_orm::DbErr;

/// The reasons why the service refuses a call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The stored state forbids the act.
    #[error("{reason:?}")]
    State {
        reason: ErrorReason,
        /// The sentence that a person reads.
        message: &'static str,
    },
    /// A refusal that no code decides by.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Error {
    /// The stored state forbids the act, for this documented reason.
    pub(crate) fn state(reason: ErrorReason, message: &'static str) -> Self {
        Self::State { reason, message }
    }

    /// The object does not exist in the organization, or the caller may not know that it exists.
    pub(crate) fn unknown(kind: &'static str, name: impl std::fmt::Display) -> Self {
        not_found(kind, name).into()
    }

    /// The matter is the caller's own, so another person decides (F6).
    pub(crate) fn second_person_required() -> Self {
        Self::state(
            ErrorReason::SecondPersonRequired,
            "You cannot decide about a matter that concerns yourself. Ask another administrator, the head or a \
             deputy.",
        )
    }

    /// The unit is unknown, archived, or of a kind that does not have such members.
    pub(crate) fn unit_unknown(unit: UnitId) -> Self {
        let why = "The unit is unknown, archived, or of another kind.";
        RpcError::new(ErrorReason::UnitUnknown, why)
            .precondition("UNIT", unit, "unknown, archived or of another kind")
            .meta("unit_id", unit)
            .into()
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::State { reason, message } => {
                let refusal = Self::new(reason, message);
                if refusal.code() == parta_status::Code::FailedPrecondition {
                    let subject = reason.as_str_name().trim_start_matches("ERROR_REASON_");
                    return refusal.precondition("STATE", subject, message);
                }
                refusal
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
