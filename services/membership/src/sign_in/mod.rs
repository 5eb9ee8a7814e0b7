//! Sign-in by a one-time code (R19, R20): a person proves an address.
//!
//! Owns the tables `sign_in_flow` and `sign_in_failure`. Invariants: the response does
//! not depend on whether the address is known; a code has five attempts and five minutes, and a new
//! code resets no counter; an attempt is counted whatever comes of it; no limit counts only by the
//! address, because a stranger could exhaust it, except a hundred wrong codes in a row, which the
//! administration and the operator lift; a proved flow starts one session, for the holder of the proof
//! that VerifyCode returned, never for a caller who knows only the flow.

mod error;
mod grpc;
mod limiter;
mod limits;
mod model;
mod operations;
mod policy;
mod proof;
mod purge;
mod send;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::{SignInMetrics, address};
pub(crate) use limiter::{count_wrong_attempt, require_attempt, unlock};
pub(crate) use model::{Budgets, FLOW_RETENTION};
pub(crate) use operations::{
    RequestCode, Requested, SentCode, UnlockAddress, Unlocked, VerifyCode, send_code, try_code,
};
pub(crate) use policy::rules;
pub(crate) use proof::ProofDigest;
pub(crate) use purge::purge;
pub(crate) use send::SendCode;
pub(crate) use storage::{find_proved, use_proved};
