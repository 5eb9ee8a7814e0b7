//! The rows of chats, their participants and their logs.
pub mod model;
pub(crate) mod storage;
