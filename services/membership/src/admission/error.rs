//! Refusals of admissions.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// No account has a join flow with this ticket.
    pub(super) fn join_flow_unknown() -> Self {
        Self::state(
            ErrorReason::JoinFlowUnknown,
            "The join ticket is unknown. Request a new join ticket.",
        )
    }

    /// The expected record that the invitation names was claimed with another account.
    pub(super) fn already_claimed() -> Self {
        Self::state(
            ErrorReason::AlreadyClaimed,
            "This member record already belongs to another account. Ask the administration for a new invitation.",
        )
    }
}
