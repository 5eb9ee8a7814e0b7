//! Messages: sending, reading and announcements.
mod grpc;
pub(crate) mod operations;
pub(crate) mod writer;
