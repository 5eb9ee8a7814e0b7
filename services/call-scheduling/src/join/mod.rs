//! Joining and leaving: issues tokens with which the audience of a call enters a room of the media server,
//! and removes from it those who lose the right (R55, F18).
//!
//! Owns no table; it records in the state of the occurrence that staff has arrived, and in `rooms` who may be
//! in a room. Invariants: a token admits one person to one room for at most ten minutes and never after the
//! room closes; until staff has arrived, the tokens of other members admit to the lobby only; a member who
//! loses the right is removed from the room, again and again as long as an earlier token may be valid. Each
//! request issues a new token, so there is no `request_id`.

mod error;
pub(crate) mod grpc;
mod looking;
mod operations;
mod policy;

#[cfg(test)]
mod tests;

pub(crate) use looking::{JOB_LIMITS as LEAVING_LIMITS, Leaving, LostRights};
pub(crate) use policy::rules;
