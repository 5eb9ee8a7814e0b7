//! Announcements: messages about calls in the chats of their audience (R57, F25).
//!
//! Owns no table; it marks the call as announced. An announcement is a saga: a mutation authorizes it and is
//! committed, chat posts the message outside any transaction with the rights of the calling person, and a
//! second transaction marks the call. Invariants: chat posts a call once, because the `request_id` of the
//! message is the id of the call; if chat refuses the message, the call stays planned and every repetition
//! tries again.

mod chat;
mod error;
pub(crate) mod grpc;
mod operations;
mod policy;

#[cfg(test)]
mod tests;

pub(crate) use operations::announce;
pub(crate) use policy::rules;
