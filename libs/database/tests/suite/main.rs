//! Tests of the database library, on each database.

mod connections;
mod counter;
mod round_trips;
mod schema;
mod support;
mod transactions;
