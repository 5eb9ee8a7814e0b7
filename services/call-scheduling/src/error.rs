//! The errors of the features and their mapping to documented reasons.
use chrono::{DateTime, SecondsFormat, Utc};
use parta_ids::{CallId, MemberId, UnitId};
use parta_proto::parta::call_scheduling::v1::ErrorReason;
use parta_status::{RpcError, not_found};
use parta_storage::StorageError;

use crate::recurrence::NotPlannable;

/// The reasons for which the service refuses a call.
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
    /// The call has no occurrence at this start time.
    #[error("no occurrence of {0} starts at this time")]
    UnknownOccurrence(CallId),
    /// A refusal by a library, which has its own reason.
    #[error(transparent)]
    Refused(#[from] RpcError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn precondition_failed(reason: ErrorReason, kind: &str, why: &str) -> RpcError {
    RpcError::new(reason, why).precondition(kind, "call", why)
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::UnitNotSuitable(unit) => precondition_failed(
                ErrorReason::UnitNotSuitable,
                "UNIT",
                "Calls of this kind cannot be held in this unit. Choose another unit.",
            )
            .meta("unit_id", unit),
            Error::ParticipantNotConcerned(member) => {
                let why = "A participant does not belong to the audience. Remove the participant.";
                precondition_failed(ErrorReason::ParticipantNotConcerned, "PARTICIPANT", why)
                    .meta("member_id", member)
            }
            Error::RecurrenceNotPlannable(_) => precondition_failed(
                ErrorReason::RecurrenceNotPlannable,
                "RECURRENCE",
                "A series must have 1 to 400 occurrences within two years.",
            ),
            Error::CallCanceled => {
                precondition_failed(ErrorReason::CallCancelled, "STATE", "The call was cancelled.")
            }
            Error::OccurrenceCanceled => precondition_failed(
                ErrorReason::OccurrenceCancelled,
                "STATE",
                "This occurrence of the call was cancelled.",
            ),
            Error::OutsideJoinWindow { open, close } => {
                let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
                precondition_failed(
                    ErrorReason::OutsideJoinWindow,
                    "TIME",
                    "The room is not open now.",
                )
                .meta("open_time", text(open))
                .meta("close_time", text(close))
            }
            Error::NotOnline => {
                precondition_failed(ErrorReason::NotOnline, "FORMAT", "The call is held in person.")
            }
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
