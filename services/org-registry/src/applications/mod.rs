//! Applications and the operator's decisions.
pub(crate) mod appoint;
pub(crate) mod grpc;
pub(crate) mod model;
pub(crate) mod operations;
pub(crate) mod storage;
