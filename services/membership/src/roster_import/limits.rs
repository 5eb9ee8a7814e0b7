//! The name of the job of imports, and the sizes of its parts.

/// Kind of the durable job that applies the changes of an import.
pub(crate) const JOB: &str = "membership.roster_import";
/// Changes per transaction. The number is small, so that other writers wait only briefly.
pub(super) const BATCH: u64 = 100;
/// The same as the number of a change.
pub(super) const BATCH_CHANGES: i64 = 100;
/// A limit that no import reaches.
pub(super) const NO_LIMIT: u64 = 10_000_000;
