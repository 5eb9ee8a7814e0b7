//! Roles and the verification of teachers (R22, R23, R24).
//!
//! Owns no table: it changes member records. Invariants: an organization keeps an administrator; only staff
//! who are active become administrators; the verification belongs to the role of teacher and goes with it.

mod error;
mod operations;
mod policy;
#[cfg(test)]
mod tests;

pub(crate) use operations::{
    ChangeRoles, SetVerification, end_what_hangs_on, keep_an_administrator, load, present,
};
pub(crate) use policy::rules;
