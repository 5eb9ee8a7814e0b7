//! Refusals of assignments.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The member is not a teacher, or has left.
    pub(crate) fn not_a_teacher() -> Self {
        Self::state(ErrorReason::NotATeacher, "The member is not a teacher.")
    }

    /// The teacher already has the assignment.
    pub(super) fn already_assigned() -> Self {
        Self::state(
            ErrorReason::AlreadyAssigned,
            "The teacher already has this assignment.",
        )
    }
}
