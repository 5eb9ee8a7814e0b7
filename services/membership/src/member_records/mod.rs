//! Member records: who is known in an organization, in which state and with which roles.
//!
//! Owns the tables `member` and `admission`. Has no RPCs: the features after it decide, and change records
//! through it. Invariants: an account is at most one member of an organization; each change and its event
//! are committed together.

pub(crate) mod events;
mod model;
pub(crate) mod storage;

pub(crate) use model::{Member, MemberView};
