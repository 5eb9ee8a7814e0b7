//! Lineage: which member joined with which link (R17).
//!
//! Reads the confirmed reservations of acceptance and owns no table. Invariant: only those who may manage a
//! link see who joined with it.

pub(crate) mod grpc;
mod operations;
mod policy;

#[cfg(test)]
mod tests;

pub(crate) use policy::rules;
