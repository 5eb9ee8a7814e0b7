//! Planning, reading and canceling calls.
mod cancel;
mod plan;
mod read;

pub(crate) use plan::PlanCall;
pub(crate) use read::Window;
