//! The service's tables. Rows are private to this module; queries take the proof of scope.
pub(crate) mod calls;
mod entities;
pub(crate) mod occurrences;
