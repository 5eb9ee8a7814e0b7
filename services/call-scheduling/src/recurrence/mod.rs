//! Recurrence: the times at which a call or a weekly series is held (R51).
//!
//! Pure: owns no table and no RPC. Invariants: a series keeps its wall-clock time across changes of
//! daylight saving; it has 1 to 400 occurrences within two years.
mod model;

pub(crate) use model::{End, MAX_OCCURRENCES, NotPlannable, Schedule, Slot, Weekly};
