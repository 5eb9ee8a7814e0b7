//! Messages: sending, announcements of other services, reading, and the read marks of participants.
//!
//! Owns no table of its own: `entries` does, and the writer has its statements on them. Invariants: a message
//! is stored at most once for its `request_id`, sender and chat; nothing is stored for a sender who may not
//! write when the row of the chat is locked; a response follows its commit.
mod error;
mod events;
mod grpc;
mod model;
mod names;
mod operations;
mod policy;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use events::entry_to_proto;
pub(crate) use grpc::{Announcements, Messages};
pub(crate) use operations::MessageService;
pub(crate) use policy::rules;
pub(crate) use writer::writer;
