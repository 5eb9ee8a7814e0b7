//! Refusals of suspensions.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// A suspension covers these roles of the member.
    pub(super) fn already_suspended() -> Self {
        Self::state(
            ErrorReason::AlreadySuspended,
            "A suspension of the member covers these roles already.",
        )
    }
}
