//! Sessions and the tokens of a signed-in person (R28, R29).
mod grpc;
mod operations;
pub(crate) mod secret;
pub(crate) mod storage;
