//! One-time codes that the school gives to a person who has lost the address of sign-in (F11, R19).
//!
//! Owns the table `one_time_code`; serves OneTimeCodeService. Invariants: a member has one code, and a later
//! one replaces it; a code starts one session, whose restrictions `sessions` keeps; no code is stored, but
//! its digest; whether the issuer may give the code is judged when it is issued and again when it is used;
//! nobody issues a code for oneself or one's family, and nobody who has seen a code confirms its use.

mod error;
mod grpc;
mod model;
mod operations;
mod policy;
mod purge;
mod restored;
mod secret;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::OneTimeCodes;
pub(crate) use policy::rules;
pub(crate) use purge::purge;
pub use restored::delete_one_time_codes;
