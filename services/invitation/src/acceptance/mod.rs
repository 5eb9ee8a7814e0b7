//! Acceptance: the use of a link by one join flow.
pub(crate) mod operations;
pub(crate) mod storage;
