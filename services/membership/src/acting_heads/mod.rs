//! Acting heads: a deputy who has the powers of the head until a day, on an order (F7).
//!
//! Owns the table `acting_head`. Has no gRPC service of its own: its acts belong to RoleService.
//! Invariants: an organization has at most one acting head, besides its head; nobody appoints oneself; the
//! appointment ends after its last day in the time zone of the organization, with the role of a deputy and
//! with the membership; each change and its event are committed together.

mod error;
mod events;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::snapshot;
pub(crate) use model::ActingHead;
pub(crate) use operations::{
    AppointActingHead, EndActingHead, GetActingHead, end_all_of, end_due, lasting_of,
};
pub(crate) use policy::rules;
