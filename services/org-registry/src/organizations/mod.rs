//! Organizations: data and policies.
pub(crate) mod grpc;
pub(crate) mod operations;
pub(crate) mod storage;
