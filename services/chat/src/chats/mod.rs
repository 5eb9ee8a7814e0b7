//! Chats and their participants as members see and change them (R33 to R38).
//!
//! Owns no table of its own: `entries` does. Invariants: only the participants of a custom chat are changed
//! by hand; a caller sees no chat in which the caller never participated; a caller who names people may talk
//! with each of them.
mod error;
mod grpc;
mod model;
mod operations;
mod policy;

#[cfg(test)]
mod tests;

pub(crate) use grpc::Chats;
pub(crate) use model::MAX_PARTICIPANTS;
pub(crate) use operations::{Readable, load_readable_at_once};
pub(crate) use policy::rules;
