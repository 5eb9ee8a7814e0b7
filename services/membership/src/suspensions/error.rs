//! Refusals of suspensions.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The matter is the caller's own, so another person decides (reach.md 6).
    pub(super) fn second_person_required() -> Self {
        Self::state(
            ErrorReason::SecondPersonRequired,
            "Nobody decides in the own matter. Ask another administrator, the head or a deputy.",
        )
    }

    /// A suspension covers these roles of the member.
    pub(super) fn already_suspended() -> Self {
        Self::state(
            ErrorReason::AlreadySuspended,
            "A suspension of the member covers these roles already.",
        )
    }
}
