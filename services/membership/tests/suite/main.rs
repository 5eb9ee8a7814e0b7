//! Tests of the requirements through the gRPC API with the production middleware, on each database.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod admission;
mod codes;
mod edge;
mod guardianships;
mod members;
mod roster_import;
mod sessions;
mod sign_in;
mod table;
mod test_env;
