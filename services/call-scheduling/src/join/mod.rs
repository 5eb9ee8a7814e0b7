//! Join: tokens by which the audience of a call enters a room of the media server (R55).
//!
//! Owns no table; it records in the state of the occurrence that staff has arrived. Invariants: a token
//! opens one room to one person for at most ten minutes and never beyond the closing of the room; until
//! staff has arrived, the tokens of others open the lobby only; the media server never learns the id of a
//! member. Each call issues a new token, so there is no `request_id`. Removing a person from a running room
//! is not done here.

mod error;
pub(crate) mod grpc;
mod media;
mod operations;
mod policy;

pub(crate) use media::LiveKit;
pub(crate) use policy::rules;
