//! Why the service refuses, and the one mapping to documented reasons.
use chrono::{DateTime, SecondsFormat, Utc};
use parta_ids::{CallId, MemberId, UnitId};
use parta_proto::parta::call_scheduling::v1::ErrorReason;
use parta_status::{RpcError, not_found};
use parta_storage::StorageError;
use sea_orm::DbErr;

use crate::recurrence::model::NotPlannable;

/// Why the service refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The unit is archived or of a kind for which such calls are not held.
    #[error("{0} is not suitable")]
    UnitNotSuitable(UnitId),
    /// The named participant does not belong to the audience.
    #[error("{0} is not concerned")]
    ParticipantNotConcerned(MemberId),
    /// The recurrence has no occurrence or too many.
    #[error(transparent)]
    RecurrenceNotPlannable(#[from] NotPlannable),
    /// The call was cancelled as a whole.
    #[error("the call is cancelled")]
    CallCancelled,
    /// The occurrence was cancelled.
    #[error("the occurrence is cancelled")]
    OccurrenceCancelled,
    /// The room is not open.
    #[error("the room is open from {open} to {close}")]
    OutsideJoinWindow {
        /// When it opens.
        open: DateTime<Utc>,
        /// When it closes.
        close: DateTime<Utc>,
    },
    /// There is no room of the media server to join.
    #[error("the call is held in person")]
    NotOnline,
    /// There is no such call in the organization.
    #[error("no call {0}")]
    Unknown(CallId),
    /// No occurrence of the call starts then.
    #[error("no occurrence of {0} starts then")]
    UnknownOccurrence(CallId),
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

fn unmet(reason: ErrorReason, kind: &str, why: &str) -> RpcError {
    RpcError::new(reason, why).precondition(kind, "call", why)
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::UnitNotSuitable(unit) => unmet(
                ErrorReason::UnitNotSuitable,
                "UNIT",
                "Such calls are not held for this unit.",
            )
            .meta("unit_id", unit),
            Error::ParticipantNotConcerned(member) => {
                let why = "A named participant does not belong to the audience.";
                unmet(ErrorReason::ParticipantNotConcerned, "PARTICIPANT", why).meta("member_id", member)
            }
            Error::RecurrenceNotPlannable(_) => unmet(
                ErrorReason::RecurrenceNotPlannable,
                "RECURRENCE",
                "A series has 1 to 400 occurrences within two years.",
            ),
            Error::CallCancelled => unmet(ErrorReason::CallCancelled, "STATE", "The call was cancelled."),
            Error::OccurrenceCancelled => unmet(
                ErrorReason::OccurrenceCancelled,
                "STATE",
                "This occurrence of the call was cancelled.",
            ),
            Error::OutsideJoinWindow { open, close } => {
                let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
                unmet(
                    ErrorReason::OutsideJoinWindow,
                    "TIME",
                    "The room is not open now.",
                )
                .meta("open_time", text(open))
                .meta("close_time", text(close))
            }
            Error::NotOnline => unmet(ErrorReason::NotOnline, "FORMAT", "The call is held in person."),
            Error::Unknown(id) => not_found("call", id),
            Error::UnknownOccurrence(id) => not_found("occurrence", id),
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
