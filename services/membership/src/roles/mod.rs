//! Roles and the verification of teachers (R22, R23, R24).
//!
//! Owns the tables `verification_request`, `verification_end`, `role_change` and `role_change_fact`, and
//! changes member records. Invariants: an organization keeps an administrator; only staff who are active
//! become administrators; the verification belongs to the role of teacher and goes with it, and so does a
//! request for it; nobody verifies oneself. A member loses a role only as a preview showed it. A change is
//! undone once, within 7 days, while the membership lasts in which it was made (docs/adr/0039).

mod error;
mod grpc;
mod model;
mod operations;
mod policy;
mod preview;
mod purge;
mod restored;
mod steps;
mod storage;
#[cfg(test)]
mod tests;
mod undo;
mod verification;
mod verification_end;

pub(crate) use grpc::{Roles, decode_roles};
pub(crate) use model::VerificationRequest;
pub(crate) use operations::{
    ChangeRoles, close_changes, end_what_hangs_on, keep_an_administrator, lose_again, withdraw_again,
};
pub(crate) use policy::rules;
pub(crate) use purge::purge;
pub use restored::close_role_changes;
pub(crate) use steps::load;
pub(crate) use verification::{
    ListVerificationRequests, RefuseVerification, RequestVerification, SetVerification, VerifyTeachers,
    forget_request,
};
pub(crate) use verification_end::{end_due_verification, forget_end};
