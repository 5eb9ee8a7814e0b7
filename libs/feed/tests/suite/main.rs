//! Tests of the feed library, on each database.

mod bus;
mod consuming;
mod cursors;
mod log;
mod lost;
mod many;
mod metrics;
mod plans;
mod purging;
mod quarantine;
mod school;
mod serving;
mod snapshots;
#[path = "../../../database/tests/suite/support.rs"]
mod support;
