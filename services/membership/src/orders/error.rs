//! Refusals of orders.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The act rests on an order that the request lacks.
    pub(crate) fn order_required() -> Self {
        Self::state(
            ErrorReason::OrderRequired,
            "This decision rests on an order. Call again with one; to take a limit away, with a newer one.",
        )
    }
}
