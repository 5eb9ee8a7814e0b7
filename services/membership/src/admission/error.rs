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

    /// The invitation was made for another phone or e-mail.
    pub(super) fn recipient_mismatch() -> Self {
        Self::state(
            ErrorReason::RecipientMismatch,
            "The invitation was made for another phone or e-mail. Sign in with that one.",
        )
    }
}
