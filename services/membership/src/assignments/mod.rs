//! Assignments: which teacher works in which unit, and as what (R25).
//!
//! Owns the table `assignment`. Invariants: only a teacher who has not left holds one; a teacher holds at
//! most one assignment of a kind in a unit; an ended assignment stays as history; each change and its event
//! are committed together.

mod error;
mod events;
mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

pub(crate) use events::snapshot;
pub(crate) use grpc::Assignments;
pub(crate) use model::{Assignment, AssignmentKind};
pub(crate) use operations::{
    begin, begin_all, end_all_of, end_due, ended_by_decision, hand_over, is_ended_by_decision, lasting_of,
    restore,
};
pub(crate) use policy::rules;
