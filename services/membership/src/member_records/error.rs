//! Refusals about member records.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    pub(crate) fn member_left() -> Self {
        Self::state(ErrorReason::MemberLeft, "The member has left.")
    }
}
