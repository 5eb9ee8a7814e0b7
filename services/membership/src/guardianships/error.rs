//! Refusals of guardianships.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The child of a guardianship is not a pupil of the organization.
    pub(super) fn child_unknown() -> Self {
        Self::state(
            ErrorReason::ChildUnknown,
            "The child of the invitation is not a pupil of the organization.",
        )
    }

    /// Whether the error is [`Self::child_unknown`].
    pub(crate) fn is_child_unknown(&self) -> bool {
        matches!(
            self,
            Self::State {
                reason: ErrorReason::ChildUnknown,
                ..
            }
        )
    }
}
