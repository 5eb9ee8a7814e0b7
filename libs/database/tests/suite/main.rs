//! Tests of the database library, on each database.

mod connections;
mod counter;
mod round_trips;
mod support;
mod transactions;
