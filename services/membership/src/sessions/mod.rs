//! Sessions, and the tokens that a signed-in person gets (R28, R29).
//!
//! Owns the tables `session` and `ended_session`; serves AuthenticationService, whose other acts belong to
//! sign-in and admission. Invariants: no refresh token is stored, each is derived from the session and its
//! generation; a refresh token that is used again after its successor ends the session; a session that was
//! ended stands in `ended_session` for longer than its tokens live, and is listed for every organization of
//! the person under the id by which that organization knows it, and for join tickets; a session that a
//! one-time code of an organization started acts for that organization only, and changes nothing of the
//! account.

mod error;
mod grpc;
mod model;
mod operations;
mod policy;
mod purge;
mod restored;
mod secret;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::Authentication;
pub(crate) use operations::{
    NewSession, confirm_code_session, end_code_session, end_others, first_tokens, signed_in, start_by_code,
};
pub(crate) use policy::rules;
pub(crate) use purge::purge;
pub use restored::end_all_sessions;
pub(crate) use secret::{joining_session, pairwise_session};
pub(crate) use storage::purge_ended;
