//! Tests of the database library, on each database.

mod clock;
mod connections;
mod counter;
mod entities;
mod lost_hosts;
mod lost_migrations;
mod metrics;
mod round_trips;
mod schema;
mod server_checks;
mod serving;
mod support;
mod transactions;
mod unknown_commits;
