//! Departures: what ends when a member leaves (R24).
//!
//! Owns no table: it ends what the features before it own. Invariants: a member who has left holds no
//! assignment, enrollment, guardianship, duty or verification; a suspension stays; the last administrator
//! stays, unless the head removes him for a cause.

mod operations;
mod policy;

#[cfg(test)]
mod tests;

pub(crate) use operations::{RemoveMember, end_membership};
pub(crate) use policy::rules;
