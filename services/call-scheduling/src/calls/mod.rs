//! Calls: planning, reading and canceling them. Owns the tables `call`, `call_participant` and `occurrence`.
pub(crate) mod grpc;
pub(crate) mod model;
pub(crate) mod operations;
pub(crate) mod policy;
pub(crate) mod storage;
