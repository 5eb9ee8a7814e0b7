//! Chats and their participants as callers see and change them.
pub(crate) mod grpc;
pub(crate) mod operations;
pub mod policy;
