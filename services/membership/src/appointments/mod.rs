//! Appointments of founding administrators (R3, R19).
mod grpc;
mod operations;
pub(crate) mod storage;
