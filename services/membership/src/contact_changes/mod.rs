//! Changes of the address by which a person signs in (R19, F11).
//!
//! Owns the table `contact_change`; serves AccountService. Invariants: an address is replaced after a code to
//! the present address and a code to the new one; an account has one change at a time; the codes of a change
//! sign nobody in, and the codes of a sign-in change no address; both count by the limits of sign-in; after a
//! change only the session that confirmed it is alive.

mod error;
mod grpc;
mod operations;
mod policy;
mod purge;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::Accounts;
pub(crate) use policy::rules;
pub(crate) use purge::purge;
