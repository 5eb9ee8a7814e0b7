//! Admission: an account becomes a member by an invitation that it accepted (R14, R16, R17).
//!
//! Owns the table `join_flow`; serves the internal AdmissionService, whose other act belongs to
//! appointments. A join flow stands for an account and a link, so that invitation learns no account.
//! Invariant: a link that names nobody admits nobody, nor does any link admit a person whom a decision
//! removed; such a person makes a request (`join_requests`).

mod error;
mod grpc;
mod model;
mod operations;
mod policy;
mod purge;
mod secret;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::Admission;
pub(crate) use operations::CreateJoinTicket;
pub(crate) use policy::rules;
pub(crate) use purge::purge;
