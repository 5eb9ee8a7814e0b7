//! Organizations: their data and their policies in force (R4, R9).
//!
//! Owns the table `organization`. Invariants: a new organization has the default policies; each change
//! of the policies increases their version by one; each change and its event are committed together. The
//! feature `policies` decides about changes of the policies.

mod events;
mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::{policies_to_proto, snapshot};
pub(crate) use grpc::{Organizations, time_zone, to_proto};
pub(crate) use model::{Organization, OrganizationKind, Registration};
pub(crate) use operations::{create, lock, replace_policies};
pub(crate) use policy::rules;
pub(crate) use storage::{find, policies_versions};
