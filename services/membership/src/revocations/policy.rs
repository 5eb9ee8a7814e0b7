//! The rule for reading revocations: only services.
use parta_access::{PermissionRule, PrincipalKind};

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![PermissionRule::own(
        "parta.membership.internal.v1.RevocationService/GetRevocations",
        |kind| kind == PrincipalKind::Service,
    )]
}
