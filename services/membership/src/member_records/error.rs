//! Refusals about member records.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// One person does not hold these roles together.
    pub(crate) fn role_combination() -> Self {
        Self::state(
            ErrorReason::RoleCombination,
            "One person does not hold these roles together. Change the roles first, or open a separate profile.",
        )
    }

    pub(crate) fn member_left() -> Self {
        Self::state(ErrorReason::MemberLeft, "The member has left.")
    }
}
