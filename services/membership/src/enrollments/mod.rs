//! Enrollments: which pupil is in which class or group (R26).
//!
//! Owns the table `enrollment`. Invariants: only a pupil who has not left is enrolled; a pupil is in a unit
//! at most once; an ended enrollment stays as history; each change and its event are committed together.

mod error;
mod events;
mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

pub(crate) use events::snapshot;
pub(crate) use grpc::Enrollments;
pub(crate) use operations::{
    begin, begin_all, end, end_all_of, ended_by_decision, is_ended_by_decision, lasting_of, restore,
};
pub(crate) use policy::rules;
pub(crate) use storage::units_of;
