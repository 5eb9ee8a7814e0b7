//! Service accounts: external systems of one organization (R30).
//!
//! Owns the tables `service_account` and `revoked_service_account`. Invariants: a key is derived from the
//! account's id and never stored, only its digest is; a revoked account gets no token, and stands in
//! `revoked_service_account` for longer than its tokens live; permissions are those that an administrator
//! named.

mod error;
mod grpc;
mod model;
mod operations;
mod policy;
mod secret;
mod storage;

pub(crate) use grpc::ServiceAccounts;
pub(crate) use policy::administer;
pub(crate) use storage::{list_revoked, purge_revoked};
