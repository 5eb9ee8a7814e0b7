//! Service accounts: external systems of one organization (R30, R80).
//!
//! Owns the tables `service_account`, `service_account_key` and `revoked_service_account_key`. Invariants: an
//! account that was not revoked has at most two keys that were not revoked; a key is derived from its id and
//! never stored, only its digest is; a revoked key gets no token, and stands in `revoked_service_account_key`
//! for longer than its tokens live; revoking an account revokes its keys; permissions are those of the
//! catalog (`parta_access::ServiceAccountPermission`) that an administrator named, and a stored name that the
//! catalog does not have gives nothing.

mod error;
mod grpc;
mod model;
mod operations;
mod policy;
mod restored;
mod secret;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::ServiceAccounts;
pub(crate) use policy::rules;
pub use restored::revoke_all_service_account_keys;
pub(crate) use storage::purge_revoked;
