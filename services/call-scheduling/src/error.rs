//! The error of all features and its mapping to a refusal. The refusals of one feature are in its `error.rs`.
use parta_database::StorageError;
use parta_ids::{CallId, UnitId};
use parta_proto_call_scheduling::v1::ErrorReason;
use parta_status::{RpcError, not_found};

use crate::recurrence::NotPlannable;

/// The reasons for which the service refuses a call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The recurrence has no occurrence or too many.
    #[error(transparent)]
    RecurrenceNotPlannable(#[from] NotPlannable),
    /// The call was canceled with all its occurrences.
    #[error("the call is canceled")]
    CallCanceled,
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

/// A refusal because of the state of a call.
pub(crate) fn precondition_failed(reason: ErrorReason, kind: &str, why: &str) -> RpcError {
    RpcError::new(reason, why).precondition(kind, "call", why)
}

/// Nothing happens in the calls of an archived unit (F17).
pub(crate) fn unit_archived(unit: UnitId) -> RpcError {
    let why = "The class or group of the call was archived. Plan a call in another unit.";
    precondition_failed(ErrorReason::UnitArchived, "UNIT", why).meta("unit_id", unit)
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::RecurrenceNotPlannable(_) => precondition_failed(
                ErrorReason::RecurrenceNotPlannable,
                "RECURRENCE",
                "A series must have 1 to 400 occurrences within two years.",
            ),
            Error::CallCanceled => {
                precondition_failed(ErrorReason::CallCanceled, "STATE", "The call was canceled.")
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
