//! Ends the facts whose time has come (F1).
//!
//! Owns no table: it calls the features that own the facts. Invariant: an ending, its event and the deletion
//! of its time are committed together, so that an ending is published once; an overdue ending whose job has
//! failed or is gone gets another job within seconds.

mod operations;
#[cfg(test)]
mod tests;

pub(crate) use operations::{EndDue, JOB_LIMITS, OVERDUE_CHECK_INTERVAL, enqueue_overdue};
