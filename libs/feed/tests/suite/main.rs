//! Tests of the feed library, on each database.

mod bus;
mod consuming;
mod cursors;
mod log;
mod many;
mod quarantine;
mod school;
mod serving;
#[path = "../../../database/tests/suite/support.rs"]
mod support;
