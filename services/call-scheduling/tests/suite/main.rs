//! Tests of the requirements through the gRPC API with the production middleware, on each database.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod chat;
mod fixture;
mod joining;
mod planning;
mod repeating;
mod seeing;
