//! What is done with messages.
mod announce;
mod mark_read;
mod send;

pub(crate) use send::{SendMessage, request_id};
