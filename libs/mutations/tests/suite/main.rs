//! Tests of the mutations library, on each database.

#[path = "../../../database/tests/suite/counter.rs"]
mod counter;
mod mutations;
#[path = "../../../database/tests/suite/support.rs"]
mod support;
mod tokens;
