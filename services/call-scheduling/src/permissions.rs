//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{CreatorPermission, Permission, PermissionRule, creator_rows, permission_rows};

use crate::{announcements, assembly, calls, join};

fn rules() -> impl Iterator<Item = PermissionRule> {
    let features = [
        calls::rules(),
        join::rules(),
        announcements::rules(),
        assembly::common_rules(),
    ];
    features.into_iter().flatten()
}

/// Returns one row for each RPC and kind of principal.
pub fn permissions() -> Vec<Permission> {
    permission_rows(rules())
}

/// The permissions that principals have only for calls that they organize.
pub fn creator_permissions() -> Vec<CreatorPermission> {
    creator_rows(rules())
}
