//! Refusals of duties.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The scope does not fit.
    pub(super) fn out_of_scope() -> Self {
        Self::state(
            ErrorReason::OutOfScope,
            "The scope does not fit the kind of the duty, or its unit or a pupil of it is unknown. Correct it.",
        )
    }

    /// The member does not work in the organization.
    pub(super) fn not_staff() -> Self {
        Self::state(
            ErrorReason::NotStaff,
            "Only members of the staff can hold a duty. Change the roles of the member first.",
        )
    }
}
