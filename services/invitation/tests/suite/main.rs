//! What the service promises, proven over its gRPC API behind the real layers, on each database.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod accepting;
mod annulling;
mod fixture;
mod inviting;
mod membership;
mod repeating;
