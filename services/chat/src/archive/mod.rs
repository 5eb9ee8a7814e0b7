//! Moves old entries from the log to the archive.
pub(crate) mod operations;
pub(crate) mod storage;
