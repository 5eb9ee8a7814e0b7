//! Tools that tests share: a database for each test, on both kinds of database; a clock that stands still;
//! the log of the test, in which an unlisted WARN or ERROR is a failure; the refusals by servers, which the
//! comments of the RPCs have to list; a connection to a server that can be cut; calls of any RPC by its name;
//! a gateway of an SMS provider, and certificates for it.
//!
//! A test on PostgreSQL fails where no server is given; it never skips. `cargo xtask test` gives one.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this crate runs in tests only, which may fail loudly"
)]

mod certificates;
mod database;
pub mod dynamic;
mod env;
mod link;
mod logs;
mod refusals;
mod sms_gateway;

pub use certificates::{Authority, ServerCertificate};
pub use database::{TestDatabase, databases};
pub use env::{Time, env};
pub use link::Link;
pub use logs::{Line, Logs, logs, refused, run, run_for, run_on_postgres, run_on_sqlite, run_paused};
pub use sms_gateway::{SmsGateway, SmsReply, SmsRequest};

/// Environment variable with the URL of a PostgreSQL server on which databases may be made and dropped.
pub const POSTGRES_URL: &str = "PARTA_TEST_POSTGRES_URL";
/// Environment variable with the URL of a NATS server.
pub const NATS_URL: &str = "PARTA_TEST_NATS_URL";

/// The URL of the NATS server that tests use. Fails the test where none is given.
pub fn nats_url() -> String {
    given(NATS_URL, "NATS")
}

/// The value of an environment variable that names a server. Fails the test where it is not set.
fn given(variable: &str, server: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set. Run the tests by `cargo xtask test`, which starts {server}")
    })
}

/// Makes two tests of one body: `name::sqlite` and `name::postgres`, each with an empty database of its own,
/// both under [`run`]: a WARN or ERROR that the body does not [`Logs::allow`] fails them. Without a
/// PostgreSQL server the second fails.
///
/// ```ignore
/// parta_testkit::on_both!(a_label_is_unique, |database| async move { ... });
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

/// [`on_both!`] for what SQLite alone does; the reason says why PostgreSQL has nothing to prove.
///
/// ```ignore
/// parta_testkit::on_sqlite!(file_is_locked, "PostgreSQL has no file of ours", |database| async move { ... });
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

/// [`on_both!`] for what PostgreSQL alone does; the reason says why SQLite has nothing to prove. Without a
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

/// [`on_both!`] for a property: the body runs on an empty database with each input that the strategy
/// generates, and an input that fails is shrunk. The crate of the test depends on proptest.
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
