//! Calls and when they are held: types and rules, no I/O.
pub mod call;
pub mod kind;
pub mod recurrence;
