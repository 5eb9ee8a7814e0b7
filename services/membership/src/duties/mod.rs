//! Duties: the ground on which staff who do not teach meet pupils and parents (F3).
//!
//! Owns the tables `duty` and `duty_pupil`. Invariants: a duty names an order, a scope and its last day;
//! nobody assigns a duty to oneself or ends their own; a duty ends after its last day in the time zone
//! of the organization, with the last staff role and with the membership; an ended duty never comes back, and
//! an undo of the loss of roles begins another one;
//! each change and its event are committed together.

mod error;
mod events;
mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::snapshot;
pub(crate) use grpc::Duties;
pub(crate) use operations::{end_again, end_all_of, end_due, lasting_of, naming, restore};
pub(crate) use policy::rules;
