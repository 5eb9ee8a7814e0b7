//! Service accounts: external systems of one organization (R30).
//!
//! Owns the table `service_account`. Invariants: a key is derived from the account's id and never stored,
//! only its digest is; a revoked account gets no token; permissions are those that an administrator named.

mod error;
mod events;
mod grpc;
mod model;
mod operations;
mod policy;
mod secret;
mod storage;

pub(crate) use grpc::ServiceAccounts;
pub(crate) use policy::administer;
