//! The errors of the features and their mapping to documented reasons.
use chrono::{DateTime, SecondsFormat, Utc};
use parta_database::StorageError;
use parta_ids::{CallId, MemberId, UnitId};
use parta_proto::parta::call_scheduling::v1::ErrorReason;
use parta_status::{RpcError, not_found};

use crate::recurrence::NotPlannable;

/// Why the service refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The unit is archived, or calls of this kind are not held in units of its kind.
    #[error("{0} is not suitable")]
    UnitNotSuitable(UnitId),
    /// The named participant does not belong to the audience.
    #[error("{0} is not in the audience")]
    ParticipantNotConcerned(MemberId),
    /// The recurrence has no occurrence or too many.
    #[error(transparent)]
    RecurrenceNotPlannable(#[from] NotPlannable),
    /// The call was canceled with all its occurrences.
    #[error("the call is canceled")]
    CallCanceled,
    /// This occurrence was canceled.
    #[error("the occurrence is canceled")]
    OccurrenceCanceled,
    /// The room is not open.
    #[error("the room is open from {open} to {close}")]
    OutsideJoinWindow {
        open: DateTime<Utc>,
        close: DateTime<Utc>,
    },
    /// The call is held in person, so there is no room of the media server.
    #[error("the call is held in person")]
    NotOnline,
    /// There is no such call in the organization.
    #[error("no call {0}")]
    Unknown(CallId),
    /// No occurrence of the call starts then.
    #[error("no occurrence of {0} starts then")]
    UnknownOccurrence(CallId),
    /// A refusal of a library, with a reason of its own.
    #[error(transparent)]
    Refused(#[from] RpcError),
    #[error(transparent)]
    Storage(#[from] StorageError),
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
                "Calls of this kind cannot be held in this unit. Choose another unit.",
            )
            .meta("unit_id", unit),
            Error::ParticipantNotConcerned(member) => {
                let why = "A participant does not belong to the audience. Remove the participant.";
                unmet(ErrorReason::ParticipantNotConcerned, "PARTICIPANT", why).meta("member_id", member)
            }
            Error::RecurrenceNotPlannable(_) => unmet(
                ErrorReason::RecurrenceNotPlannable,
                "RECURRENCE",
                "A series must have 1 to 400 occurrences within two years.",
            ),
            Error::CallCanceled => unmet(ErrorReason::CallCancelled, "STATE", "The call was cancelled."),
            Error::OccurrenceCanceled => unmet(
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
