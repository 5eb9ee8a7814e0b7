//! The whole suite in one process.

use parta_runtime::Service;

/// The five services, in the order of their start.
pub const SERVICES: [Service; 5] = [
    parta_org_registry::SERVICE,
    parta_membership::SERVICE,
    parta_invitation::SERVICE,
    parta_chat::SERVICE,
    parta_call_scheduling::SERVICE,
];
