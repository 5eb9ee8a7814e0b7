//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{Permission, permission_rows};

use crate::{acceptance, assembly, invitations, lineage};

/// One row for each RPC and kind of principal.
pub fn permissions() -> Vec<Permission> {
    let rules = [
        invitations::rules(),
        acceptance::rules(),
        lineage::rules(),
        assembly::common_rules(),
    ];
    permission_rows(rules.into_iter().flatten())
}
