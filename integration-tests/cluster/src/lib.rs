//! The five services deployed together: containers with the image, the names and the settings that they have
//! on Kubernetes. `cargo xtask cluster` runs the tests.
//!
//! The feature `containers` compiles everything that needs a container engine. [`manifests`] is compiled and
//! tested by every build.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this crate runs in tests only, which may fail loudly"
)]

pub mod manifests;

#[cfg(feature = "containers")]
mod balancer;
#[cfg(feature = "containers")]
mod cluster;
#[cfg(feature = "containers")]
mod goals;
#[cfg(feature = "containers")]
mod load;
#[cfg(feature = "containers")]
mod network;
#[cfg(feature = "containers")]
mod pod;
#[cfg(feature = "containers")]
mod servers;

#[cfg(feature = "containers")]
pub use cluster::{Cluster, Images};
#[cfg(feature = "containers")]
pub use goals::Goals;
#[cfg(feature = "containers")]
pub use load::Load;

/// Environment variable with the path of the manifests that the chart rendered.
pub const MANIFESTS: &str = "PARTA_CLUSTER_MANIFESTS";
/// Environment variable with the path of the manifests of the profile `single-node`.
pub const SINGLE_NODE: &str = "PARTA_CLUSTER_SINGLE_NODE";
/// Environment variable with the goals of the image (`Goals`).
pub const GOALS: &str = "PARTA_CLUSTER_GOALS";
/// Environment variable with the image of Parta.
pub const IMAGE: &str = "PARTA_CLUSTER_IMAGE";
/// Environment variable with an image of the same commit that has one more migration.
pub const UPGRADED_IMAGE: &str = "PARTA_CLUSTER_UPGRADED_IMAGE";
/// Environment variable with the images of PostgreSQL and of NATS, separated by a comma.
pub const SERVER_IMAGES: &str = "PARTA_CLUSTER_SERVER_IMAGES";
/// Environment variable with the folder for the logs of the pods.
pub const LOGS: &str = "PARTA_CLUSTER_LOGS";

#[cfg(feature = "containers")]
fn given(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set. Run the tests by `cargo xtask cluster`"))
}
