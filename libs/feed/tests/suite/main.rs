//! Tests of the feed library, on each database.

mod bus;
mod consuming;
mod cursors;
mod log;
mod school;
mod serving;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "../../../storage/tests/suite/support.rs"]
mod support;
