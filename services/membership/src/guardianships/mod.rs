//! Guardianships: who is a guardian of which child (R27).
//!
//! Owns the table `guardianship`. A link for a parent makes a relation that has no effect until the class
//! teacher of the child or the administration confirms it; nobody decides about a relation of their own.
//! Invariants: at most one relation of a guardian and a child has not ended; an ended relation stays as
//! history and never comes back; each change and its event are committed together.

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
pub(crate) use grpc::Guardianships;
pub(crate) use model::Guardianship;
pub(crate) use operations::{end_all_of, establish};
pub(crate) use policy::{decide, read};
pub(crate) use storage::{Side, list_current};
