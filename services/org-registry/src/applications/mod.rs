//! Applications for registration with their signed orders, and the operator's decisions (R1 to R3).
//!
//! Owns the tables `application`, `application_step` and `application_chunk`. Invariants: an organization has
//! at most one application that is not refused; an application is decided once; an approval creates the
//! organization, its staff room, their events and the job that appoints the administrator in one transaction;
//! the order is stored byte for byte; a network and the installation submit a limited number per hour. An
//! application belongs to no organization, so its queries take no
//! scope, and only calls of the operator use them.

mod appoint;
mod error;
mod grpc;
mod limits;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use appoint::{APPOINT_JOB, AppointAdministrator};
pub(crate) use grpc::Applications;
pub(crate) use limits::ApplicationLimits;
pub(crate) use model::ApplicationState;
pub(crate) use policy::rules;
