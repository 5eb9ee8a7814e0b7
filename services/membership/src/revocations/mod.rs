//! Revocations: the credentials that all services refuse before they expire (R29, R30).
//!
//! Owns no table: sessions and service accounts write theirs. Serves RevocationService. Invariants: a list
//! has everything that was committed before it was read, because no cursor skips a commit that becomes
//! visible late; a response is at most 500 ms old; a failed read returns a refusal and never an
//! older list, and so is one of a database that has accepted no commit for seconds; the time of a revocation
//! and its age are by the clock of the database, because the clocks of replicas differ.

mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::Revocations;
pub(crate) use operations::{RevocationReader, purge};
pub(crate) use policy::rules;
