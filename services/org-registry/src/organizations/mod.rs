//! Organizations: their data and their policies (R4, R9).
//!
//! Owns the table `organization`. Invariants: a new organization has the default policies; each change
//! of the policies increases their version by one; each change and its event are committed together.

mod events;
mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::snapshot;
pub(crate) use grpc::{Organizations, time_zone, to_proto};
pub(crate) use model::{Organization, OrganizationKind, Registration};
pub(crate) use operations::create;
pub(crate) use policy::rules;
pub(crate) use storage::find;
