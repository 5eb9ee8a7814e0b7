//! Restored: a database that was restored from a backup ends again what had ended after the backup.
//!
//! Owns no table: it calls the features that own the facts. Invariant: all endings of an organization are
//! committed together with their events, so that a command that is interrupted can be repeated.

mod operations;
#[cfg(test)]
mod tests;

pub use operations::repeat_endings;
