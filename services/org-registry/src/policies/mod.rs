//! Changes of the policies of an organization (R9, R84, F19).
//!
//! Owns the tables `policy_change` and `policy_change_value`; the policies in force are columns of
//! `organization`. Invariants: nothing changes without a preview of the same change at the same version;
//! what lets more adults reach pupils takes effect only if a second person has confirmed it, and at most one
//! such change of a policy is pending; a change, its row and its event are committed together.

mod error;
mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::PolicyChanges;
pub(crate) use policy::rules;
