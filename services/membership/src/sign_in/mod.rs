//! Sign-in by a one-time code (R19, R20).
pub(crate) mod model;
pub(crate) mod operations;
