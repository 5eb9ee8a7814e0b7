//! The fixture of a service under test: its database, a manual clock, the real layers of the server over
//! in-memory transports, callers of every kind, and a roster that the test writes.
//!
//! A service adds its own part: the `Ports` or `Wiring` from which it is built, its fake peers and its
//! requests.

#![expect(
    clippy::expect_used,
    reason = "this crate runs in tests only, which may fail loudly"
)]

mod env;
mod school;

pub use env::{OPERATOR, ServiceEnv, fields, reason};
pub use school::School;
