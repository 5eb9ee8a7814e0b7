//! Moves old entries from the log to the archive, so that the log stays small.
//!
//! Owns the table `archive_position` and has no RPCs. Invariant: an entry is in exactly one of the two
//! tables, and the `archived_seq` of its chat says in which.
mod operations;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use operations::run;
#[cfg(test)]
pub(crate) use storage::{Step, archive_step};
