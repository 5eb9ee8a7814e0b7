//! What tests of the suite share: a database of its own for each test, on both kinds of database; a clock that stands
//! still; the log of the test, in which an unlisted WARN or ERROR is a failure; any RPC by its name.
//!
//! A test on PostgreSQL fails where no server is given; it never skips. `cargo xtask test` gives one.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this crate runs in tests only, which may fail loudly"
)]

mod database;
pub mod dynamic;
mod env;
mod logs;

pub use database::{TestDatabase, databases};
pub use env::{Time, env};
pub use logs::{Line, Logs, logs, run, run_on};

/// Environment variable with the URL of a PostgreSQL server on which databases may be made and dropped.
pub const POSTGRES_URL: &str = "PARTA_TEST_POSTGRES_URL";
/// Environment variable with the URL of a NATS server.
pub const NATS_URL: &str = "PARTA_TEST_NATS_URL";

/// The URL of the NATS server that tests use. Fails the test where none is given.
pub fn nats_url() -> String {
    std::env::var(NATS_URL).expect("PARTA_TEST_NATS_URL is not set: run the tests by `cargo xtask test`")
}

/// Makes two tests of one body: `name::sqlite` and `name::postgres`, each with an empty database of its own, both
/// under [`run`]: a WARN or ERROR that the body does not [`Logs::allow`] fails them.
///
/// ```ignore
/// parta_testkit::on_both!(a_label_is_unique, |database| async move { ... });
/// ```
#[macro_export]
macro_rules! on_both {
    ($(#[$meta:meta])* $name:ident, $body:expr) => {
        $(#[$meta])*
        mod $name {
            use super::*;

            #[test]
            fn sqlite() {
                $crate::run_on(async { $crate::TestDatabase::sqlite() }, $body);
            }

            #[test]
            fn postgres() {
                $crate::run_on($crate::TestDatabase::postgres(), $body);
            }
        }
    };
}
