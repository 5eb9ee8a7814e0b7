//! Tests of the jobs library, on each database.

mod jobs;
#[path = "../../../database/tests/suite/support.rs"]
mod support;
