//! Refusals of the development outbox.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The installation sends its codes and has no development outbox.
    pub(super) fn outbox_absent() -> Self {
        Self::state(
            ErrorReason::OutboxAbsent,
            "The installation sends its codes and has no development outbox. Read the code where it was sent.",
        )
    }
}
