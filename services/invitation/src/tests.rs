//! Tests across features, and the fixture of the tests of all features: the gRPC API with the production
//! middleware, on each database.

pub(crate) mod fixture;
mod grounds;
pub(crate) mod membership;
mod pairs;
mod repeating;
mod requests;
mod resuming;
mod stored_values;
