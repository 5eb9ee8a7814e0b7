//! Members as their organization sees them: reading, and records of people who are expected (R23, R26, R28).
//!
//! Owns no table; serves MemberService, whose other acts belong to roles and departures. Invariants: nobody
//! reads a member whom the policy does not show; a read by staff or by an external system is audited (R60);
//! nobody lifts the lock of their own sign-in, and nobody releases their own record.

mod error;
mod grpc;
mod operations;
mod policy;
mod release;
mod unlock;

#[cfg(test)]
mod tests;

pub(crate) use grpc::{Members, to_proto};
pub(crate) use policy::rules;
