//! Tests of the storage library, on each database.

mod connections;
mod jobs;
mod pages;
mod round_trips;
mod schema;
mod support;
mod transactions;
