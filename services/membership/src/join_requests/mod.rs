//! Requests to join, and how an account becomes a member (R14, R16, R18).
//!
//! Owns the tables `join_request`, `admission` and `ended_invitation`; serves JoinRequestService. Invariants:
//! the same person by the same invitation is the same member; a record is claimed once; a member who claims a
//! record keeps their own; an account has at most one pending request by an invitation; a revoked
//! invitation admits nobody and has no pending request; a decided request is not decided again; nobody
//! decides their own request or one about their own child; each decision and its event are committed
//! together.

mod error;
mod events;
mod grpc;
mod model;
mod operations;
mod policy;
mod purge;
mod restored;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::snapshot;
pub(crate) use grpc::JoinRequests;
pub(crate) use model::Terms;
pub(crate) use operations::{
    EndInvitations, claim_needs_decision, create_request, decided, enter, forget, had_role, is_same_person,
    present_by, require_not_ended,
};
pub(crate) use policy::rules;
pub(crate) use purge::purge;
pub use restored::refuse_requests_again;
