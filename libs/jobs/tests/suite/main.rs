//! Tests of the jobs library, on each database.

mod attempts;
mod clocks;
mod jobs;
mod operator;
#[path = "../../../database/tests/suite/support.rs"]
mod support;
mod unknown_commits;
