//! Tests across features, and the fixture of the tests of all features: the gRPC API with the production
//! middleware, on each database.

pub(crate) mod chat;
pub(crate) mod fixture;
mod pairs;
mod repeating;
