//! Tests of the requirements through the gRPC API with the production middleware, on each database.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod applications;
mod decisions;
mod edge;
mod fixture;
mod membership;
mod organizations;
mod stored_values;
mod units;
