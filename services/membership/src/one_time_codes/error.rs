//! Refusals of one-time codes.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// Nobody in the organization gives a code to an administrator or the head.
    pub(super) fn code_of_operator() -> Self {
        Self::state(
            ErrorReason::CodeNotAllowed,
            "An administrator or the head gets a code from the operator of the installation only.",
        )
    }

    /// The operator gives codes to administrators and the head only.
    pub(super) fn code_of_school() -> Self {
        Self::state(
            ErrorReason::CodeNotAllowed,
            "The operator gives codes to administrators and the head only. The school gives this code.",
        )
    }

    /// The member has no account that could sign in.
    pub(super) fn code_without_account() -> Self {
        Self::state(
            ErrorReason::CodeNotAllowed,
            "The member has not joined yet. Send an invitation.",
        )
    }

    /// No session waits for this confirmation.
    pub(super) fn code_not_used() -> Self {
        Self::state(
            ErrorReason::CodeNotUsed,
            "The code was not used, or another one was used since. Read the code again.",
        )
    }
}
