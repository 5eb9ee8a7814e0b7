//! Appointments of founding administrators (R3, R19).
//!
//! Owns the table `appointment`; serves AppointmentService. Invariants: an organization has at most one
//! appointment, ever; only an account that proved exactly the phone of the application claims it, once.

mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

pub(crate) use grpc::Appointments;
pub(crate) use model::NewAppointment;
pub(crate) use operations::AppointFoundingAdministrator;
pub(crate) use policy::rules;
