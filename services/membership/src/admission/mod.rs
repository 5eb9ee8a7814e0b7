//! Admission: an account becomes a member by an invitation that it accepted (R14, R16, R17).
//!
//! Owns the tables `join_flow` and `admission`; serves the internal AdmissionService, whose other act belongs
//! to appointments. A join flow stands for an account and a link, so that invitation learns no account.
//! Invariants: the same person by the same invitation is the same member; a record is claimed once.

mod error;
mod grpc;
mod model;
mod operations;
mod purge;
mod secret;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::Admission;
pub(crate) use operations::CreateJoinTicket;
pub(crate) use purge::purge;
