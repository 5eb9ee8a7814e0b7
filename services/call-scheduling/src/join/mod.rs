//! Joining: issues tokens with which the audience of a call enters a room of the media server (R55).
//!
//! Owns no table; it records in the state of the occurrence that staff has arrived. Invariants: a token
//! admits one person to one room for at most ten minutes and never after the room closes; until staff has
//! arrived, the tokens of other members admit to the lobby only; the media server never receives the id of a
//! member. Each request issues a new token, so there is no `request_id`. The service does not remove a person
//! from a running room.

mod error;
pub(crate) mod grpc;
mod media;
mod operations;
mod policy;

#[cfg(test)]
mod tests;

pub(crate) use media::LiveKit;
pub(crate) use policy::rules;
