//! Refusals of enrollments.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The member is not a pupil, or has left.
    pub(crate) fn not_a_pupil() -> Self {
        Self::state(ErrorReason::NotAPupil, "The member is not a pupil.")
    }

    /// The pupil is already enrolled in the unit.
    pub(super) fn already_enrolled() -> Self {
        Self::state(
            ErrorReason::AlreadyEnrolled,
            "The pupil is already enrolled in the unit.",
        )
    }

    pub(super) fn not_enrolled() -> Self {
        Self::state(ErrorReason::NotEnrolled, "The pupil is not enrolled in the unit.")
    }
}
