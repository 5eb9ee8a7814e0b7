//! Sign-in by a one-time code (R19, R20): a person proves an address.
//!
//! Owns the tables `sign_in_flow` and `address_counter`. Invariants: the answer does not depend on
//! whether the address is known; a code has five attempts and five minutes, and a new code resets no
//! counter; an attempt is counted whatever comes of it; a proved flow starts one session, for the holder
//! of the proof that VerifyCode returned, never for a caller who knows only the flow.

mod error;
mod model;
mod operations;
mod proof;
mod purge;
mod send;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use operations::{RequestCode, VerifyCode};
pub(crate) use proof::ProofDigest;
pub(crate) use purge::purge;
pub(crate) use send::SendCode;
pub(crate) use storage::{find_proved, use_proved};
