//! Refusals of acting heads.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// Only a deputy acts as the head.
    pub(super) fn not_a_deputy() -> Self {
        Self::state(
            ErrorReason::NotADeputy,
            "Only a deputy can act as the head. Change the roles of the member first.",
        )
    }

    /// Another deputy acts as the head.
    pub(super) fn acting_head_present() -> Self {
        Self::state(
            ErrorReason::ActingHeadPresent,
            "Another deputy acts as the head. End that appointment first.",
        )
    }
}
