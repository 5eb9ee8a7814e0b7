//! Roles and the verification of teachers (R22, R23, R24).
//!
//! Owns the table `verification_request`, and changes member records. Invariants: an organization keeps an
//! administrator; only staff who are active become administrators; the verification belongs to the role of
//! teacher and goes with it, and so does a request for it; nobody verifies oneself.

mod error;
mod model;
mod operations;
mod policy;
mod storage;
#[cfg(test)]
mod tests;
mod verification;

pub(crate) use model::VerificationRequest;
pub(crate) use operations::{
    ChangeRoles, end_what_hangs_on, keep_an_administrator, load, lose_again, present, withdraw_again,
};
pub(crate) use policy::rules;
pub(crate) use verification::{
    ListVerificationRequests, RefuseVerification, RequestVerification, SetVerification, VerifyTeachers,
    forget_request,
};
