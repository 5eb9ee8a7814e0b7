//! Suspensions: stopping a member at once, until a second person has decided (R82).
//!
//! Owns the table `suspension`. Invariants: a suspension ends nothing, so that lifting it gives back
//! exactly what was there before; it stays until a second person lifts it, also if the member leaves and
//! returns; nobody suspends oneself, and neither the suspended member nor the one who suspended decides
//! about it; no rule on administrators delays it; each change and its event are committed together.

mod error;
mod events;
mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::snapshot;
pub(crate) use grpc::Suspensions;
pub(crate) use operations::{absent, begin_again, in_force, second_persons, suspended};
pub(crate) use policy::rules;
