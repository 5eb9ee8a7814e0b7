//! Orders: the decision of a court, an authority or the organization on which an act rests.
//!
//! Owns no table: the features keep the orders on which their rows rest. Invariants: an order has a number, a
//! date and a text; its date is not in the future in the time zone of the organization; an act that rests on
//! an order is refused with ORDER_REQUIRED without one.

mod error;
mod grpc;
mod model;
mod operations;

#[cfg(test)]
mod tests;

pub(crate) use grpc::{decode, to_proto};
pub(crate) use model::Order;
pub(crate) use operations::{check, require};
