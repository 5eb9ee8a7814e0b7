//! Refusals of admissions.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// No account created the join flow.
    pub(super) fn join_flow_unknown() -> Self {
        Self::state(ErrorReason::JoinFlowUnknown, "No account created the join flow.")
    }

    /// The record already belongs to an account.
    pub(super) fn already_claimed() -> Self {
        Self::state(
            ErrorReason::AlreadyClaimed,
            "The record already belongs to an account.",
        )
    }
}
