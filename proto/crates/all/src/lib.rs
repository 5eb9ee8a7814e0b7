//! The descriptors of all packages, for programs and tests that call every service. Libraries and services
//! name the packages that they use, so that an edit of another package does not rebuild them.
use std::sync::OnceLock;

use parta_proto::{Package, descriptors};
use prost_reflect::DescriptorPool;

/// All packages of the API.
pub static PACKAGES: &[&Package] = &[
    &parta_proto::PACKAGE,
    &parta_proto_call_scheduling::PACKAGE,
    &parta_proto_chat::PACKAGE,
    &parta_proto_invitation::PACKAGE,
    &parta_proto_membership::PACKAGE,
    &parta_proto_org_registry::PACKAGE,
];

/// Returns the descriptor pool of all packages, which is decoded once. `None` would mean that the build
/// embedded broken descriptors.
pub fn descriptor_pool() -> Option<&'static DescriptorPool> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| descriptors::pool(PACKAGES).ok()).as_ref()
}
