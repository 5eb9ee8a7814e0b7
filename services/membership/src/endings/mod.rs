//! The times at which facts end by themselves, and the endings that are overdue (F1).
//!
//! Owns the table `due_ending`. Invariants: a fact with an end has a row here for as long as it lasts; the
//! row is written and deleted in the transaction of the fact; only this service compares the end with the
//! clock, and other services learn of it by the event that the job of `end_due` publishes.

mod days;
mod model;
mod operations;
mod overdue;
mod storage;

pub(crate) use days::{due_time, end_of_day, local_date, time_zone, today};
pub(crate) use model::{Obstacle, Restored};
pub(crate) use operations::{forget, schedule};
pub(crate) use overdue::{list_overdue, require_punctual};
pub(crate) use storage::{EndingKind, delete_due, list_due};

/// Kind of the durable job that ends what is due.
pub(crate) const JOB: &str = "membership.end_due";
