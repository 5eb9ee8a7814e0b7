//! Tests across features, and the environment of the tests of all features: the gRPC API with the production
//! middleware, on each database.

mod codes;
mod edge;
mod lost_rights;
pub(crate) mod networks;
mod pairs;
mod permissions;
mod races;
mod retention;
pub(crate) mod school;
mod stored_values;
pub(crate) mod test_env;
