//! Delivery of one-time codes.
mod grpc;
pub(crate) mod mail;
mod operations;
mod storage;
