//! Acceptance: a person joins with a link (R16).
//!
//! Owns the table `reservation`: the use of a link by one join flow and its stage. An acceptance is a
//! saga: a mutation reserves the use and enqueues the job that finishes it, membership admits outside any
//! transaction, and a second transaction confirms the reservation or releases it. If staff decides, the
//! use stays reserved until the event of the decision. Invariants: at most one reservation per link and
//! flow is not released; one attempt at a time calls membership, by a lease; a use is released only after
//! a final refusal or the end of the request; a flow that accepts again, with any `request_id`, reserves
//! no second use.

mod admission;
mod ending;
mod events;
pub(crate) mod grpc;
mod model;
mod operations;
mod policy;
mod purge;
mod restored;
mod settle;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use ending::EndRequests;
pub(crate) use events::snapshot;
pub(crate) use model::LinkUse;
pub(crate) use operations::{RESUME_JOB, ResumeAdmissions};
pub(crate) use policy::rules;
pub(crate) use purge::purge;
pub use restored::list_refused_requests;
pub(crate) use settle::{DecisionObserver, SETTLE_JOB, SettleRequests};
pub(crate) use storage::list_uses;
