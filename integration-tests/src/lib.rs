//! Tests of several services together, and rules over the whole source tree. The tests are in `tests/`.
//!
//! [`Suite`] runs the five services in this process on SQLite, or as five processes on PostgreSQL and NATS.
//! [`Client`] calls any RPC by its name with JSON. [`School`] adds members to an organization through the
//! public API: by application, code and link.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this crate runs in tests only, which may fail loudly"
)]

mod client;
mod grounds;
pub mod permissions;
mod postgres;
mod process;
mod roster;
mod school;
mod seeded_rng;
mod suite;
mod two_schools;

pub use client::{Client, Refused, reason};
pub use grounds::Ground;
pub use postgres::Postgres;
pub use process::{Process, open_descriptors, peak_kib, resident_kib};
pub use roster::write_roster;
pub use school::{Account, Person, School, new_phone, ogrn};
pub use seeded_rng::{SEED, SeededRng, number_from_env};
pub use suite::{REPLICAS, Replicated, Suite};
pub use two_schools::{SampleSchool, TwoSchools};

/// Defines two tests with one body: `name::one_process` on SQLite and `name::split` on PostgreSQL and NATS.
/// Each test has its own suite and runs under [`parta_testkit::run`]. An unexpected WARN or ERROR in any
/// process fails it.
#[macro_export]
macro_rules! on_both_topologies {
    ($(#[$meta:meta])* $name:ident, $body:expr) => {
        $(#[$meta])*
        mod $name {
            use super::*;

            #[test]
            fn one_process() {
                parta_testkit::run(async {
                    let suite = $crate::Suite::one_process().await;
                    ($body)(suite.clone()).await;
                    suite.stop().await;
                });
            }

            #[test]
            fn split() {
                parta_testkit::run(async {
                    let suite = $crate::Suite::split(env!("CARGO_BIN_EXE_suite-process")).await;
                    ($body)(suite.clone()).await;
                    suite.stop().await;
                });
            }
        }
    };
}
