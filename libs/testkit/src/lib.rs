//! Tools for tests: an empty database for each test, on SQLite and PostgreSQL; a manual clock; a check
//! that the test logs no unexpected WARN or ERROR; a check that the comments of RPCs list all reasons of
//! refusals; a network connection that a test can interrupt, one that is cut at a commit, and one that
//! counts statements; calls of any RPC by its name; PgBouncer in front of PostgreSQL; a gateway of an SMS
//! provider, and certificates for it; a media server; the metrics of the process; data that others have
//! published.
//!
//! A test on PostgreSQL fails without a server; it is never skipped. `cargo xtask test` provides one.
#![warn(missing_docs)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this crate runs in tests only, which may panic"
)]

mod certificates;
mod commit_cut;
mod database;
pub mod dynamic;
mod env;
mod link;
mod logs;
mod media_server;
mod metrics;
mod pgbouncer;
mod refusals;
mod shared_data;
mod sms_gateway;
mod statement_counter;
mod wait;

pub use certificates::{Authority, ServerCertificate};
pub use commit_cut::{CommitCut, CutAt};
pub use database::{TestDatabase, databases};
pub use env::{Time, env};
pub use link::Link;
pub use logs::{Line, Logs, logs, refused, run, run_for, run_on_postgres, run_on_sqlite, run_paused};
pub use media_server::MediaServer;
pub use metrics::Metrics;
pub use pgbouncer::PgBouncer;
pub use shared_data::shared_data;
pub use sms_gateway::{SmsGateway, SmsReply, SmsRequest};
pub use statement_counter::StatementCounter;
pub use wait::eventually;

/// Environment variable with the URL of a PostgreSQL server on which databases may be created and dropped.
pub const POSTGRES_URL: &str = "PARTA_TEST_POSTGRES_URL";
/// Environment variable with the URL of a NATS server.
pub const NATS_URL: &str = "PARTA_TEST_NATS_URL";

/// Returns the URL of the NATS server for tests. Fails the test if the environment variable is not set.
pub fn nats_url() -> String {
    given(NATS_URL, "NATS")
}

/// The value of an environment variable that names a server. Fails the test where it is not set.
fn given(variable: &str, server: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set. Run the tests by `cargo xtask test`, which starts {server}")
    })
}

/// Defines two tests with one body: `name::sqlite` and `name::postgres`, each with an empty database. Both
/// use [`run`]: they fail if a WARN or ERROR is logged that the body does not [`Logs::allow`]. The second
/// test fails without a PostgreSQL server.
///
/// ```ignore
/// parta_testkit::on_both!(label_is_unique, |database| async move { ... });
/// ```
#[macro_export]
macro_rules! on_both {
    ($(#[$meta:meta])* $name:ident, $body:expr $(,)?) => {
        $(#[$meta])*
        mod $name {
            use super::*;

            #[test]
            fn sqlite() {
                $crate::run_on_sqlite($body);
            }

            #[test]
            fn postgres() {
                $crate::run_on_postgres($body);
            }
        }
    };
}

/// Like [`on_both!`], but only on SQLite. The reason says why the test does not run on PostgreSQL.
///
/// ```ignore
/// parta_testkit::on_sqlite!(file_is_locked, "PostgreSQL has no database file", |database| async move { ...
/// });
/// ```
#[macro_export]
macro_rules! on_sqlite {
    ($(#[$meta:meta])* $name:ident, $reason:literal, $body:expr $(,)?) => {
        $(#[$meta])*
        #[doc = $reason]
        mod $name {
            use super::*;

            const _: () = assert!(!$reason.is_empty(), "say why the test does not run on PostgreSQL");

            #[test]
            fn sqlite() {
                $crate::run_on_sqlite($body);
            }
        }
    };
}

/// Like [`on_both!`], but only on PostgreSQL. The reason says why the test does not run on SQLite. Without a
/// server the test fails.
#[macro_export]
macro_rules! on_postgres {
    ($(#[$meta:meta])* $name:ident, $reason:literal, $body:expr $(,)?) => {
        $(#[$meta])*
        #[doc = $reason]
        mod $name {
            use super::*;

            const _: () = assert!(!$reason.is_empty(), "say why the test does not run on SQLite");

            #[test]
            fn postgres() {
                $crate::run_on_postgres($body);
            }
        }
    };
}

/// Like [`on_both!`], but for a property test: the body runs on an empty database for each input that the
/// strategy generates, and a failing input is shrunk. The crate of the test must depend on proptest.
#[macro_export]
macro_rules! property_on_both {
    ($name:ident, $config:expr, $strategy:expr, $body:expr $(,)?) => {
        mod $name {
            use super::*;

            #[test]
            fn sqlite() {
                proptest::proptest!($config, |(input in $strategy)| {
                    $crate::run_on_sqlite(|database| ($body)(database, input));
                });
            }

            #[test]
            fn postgres() {
                proptest::proptest!($config, |(input in $strategy)| {
                    $crate::run_on_postgres(|database| ($body)(database, input));
                });
            }
        }
    };
}
