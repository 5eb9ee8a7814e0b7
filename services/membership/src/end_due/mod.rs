//! Ends the facts whose time has come (F1).
//!
//! Owns no table: it calls the features that own the facts. Invariant: an ending, its event and the deletion
//! of its time are committed together, so that an ending is published once.

mod operations;
#[cfg(test)]
mod tests;

pub(crate) use operations::{EndDue, JOB_LIMITS};
