//! Refusals of duties.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The act rests on an order, and the call has none.
    pub(super) fn order_required() -> Self {
        Self::state(
            ErrorReason::OrderRequired,
            "A duty rests on an order. Name the order.",
        )
    }

    /// The scope does not fit.
    pub(super) fn out_of_scope() -> Self {
        Self::state(
            ErrorReason::OutOfScope,
            "The scope does not fit the kind of the duty, or its unit or a pupil of it is unknown.",
        )
    }

    /// The member does not work in the organization.
    pub(super) fn not_staff() -> Self {
        Self::state(
            ErrorReason::NotStaff,
            "Only members of the staff can hold a duty.",
        )
    }
}
