//! The fixture of the tests, which are in the features: the service through its layers and an in-memory
//! transport, on both databases.

pub(crate) mod fixture;
mod instructions;
pub(crate) mod school;
