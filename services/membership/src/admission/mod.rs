//! Admission of people who accepted an invitation (R14, R16, R17).
mod grpc;
pub(crate) mod operations;
