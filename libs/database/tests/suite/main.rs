//! Tests of the database library, on each database.

mod connections;
mod counter;
mod metrics;
mod round_trips;
mod schema;
mod support;
mod transactions;
