//! The fixture of a service under test: its database, a manual clock, the real server layers over in-memory
//! transports, callers of every kind, and a roster that the test changes.
//!
//! The tests of a service add its `Ports` or `Wiring`, fakes of the other services, and requests.
#![warn(missing_docs)]
#![expect(
    clippy::expect_used,
    reason = "this crate runs in tests only, which may panic"
)]

mod env;
pub mod history;
mod races;
mod school;

pub use env::{OPERATOR, ServiceEnv, fields, reason, with_token};
pub use races::{Races, RacingAct, while_waiting};
pub use school::School;
