//! Joining and leaving: issues tokens with which the audience of a call enters a room of the media server,
//! and removes from it those who may no longer be there (R55, F15, F18).
//!
//! Owns no table; it records in `rooms` who was admitted to a room and when staff was there. Invariants: a
//! token admits one person to one room for at most ten minutes and never after the room closes; while no
//! staff is there, the tokens of other members admit to the lobby of a call with pupils only; each open room
//! is looked into every five seconds, and those who may not be there are removed, however often they return.
//! Each request issues a new token, so there is no `request_id`.

mod error;
pub(crate) mod grpc;
mod looking;
mod operations;
mod policy;

#[cfg(test)]
mod tests;

pub(crate) use looking::{ChangedRights, JOB_LIMITS as LOOK_LIMITS, Looking};
pub(crate) use policy::rules;
