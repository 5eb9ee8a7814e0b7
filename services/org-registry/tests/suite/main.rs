//! What the registry promises, proven over its gRPC API behind the real layers, on each database.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod applications;
mod decisions;
mod edge;
mod fixture;
mod membership;
mod organizations;
mod stored_values;
mod units;
