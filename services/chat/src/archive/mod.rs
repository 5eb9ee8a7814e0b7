//! Moves old entries from the log to the archive, so that the log stays small.
//!
//! Owns the table `archive_position` and has no RPCs. Invariant: an entry is in exactly one of the two
//! tables, and the `archived_seq` of its chat says in which. A chat whose rows are damaged keeps its entries
//! and delays no other chat.
mod operations;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use operations::{INTERVAL, run};
#[cfg(test)]
pub(crate) use storage::{Step, archive_step};
