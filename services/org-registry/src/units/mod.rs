//! Units: classes, groups, departments and the staff room of an organization (R5).
//!
//! Owns the table `unit`. Invariants: a label belongs to at most one unit of a kind that is not archived; the
//! staff room is never renamed or archived; a partner organization has departments only; each change and its
//! event are committed together.

mod error;
mod events;
mod grpc;
mod model;
mod observers;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::snapshot;
pub(crate) use grpc::Units;
pub(crate) use observers::{CreateImportedUnits, IMPORT_JOB, IMPORT_OBSERVER};
pub(crate) use operations::create_staff_room;
pub(crate) use policy::rules;
