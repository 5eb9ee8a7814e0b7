//! The rules for signing in: anybody may request a code, and the operator unlocks an address.
use parta_access::{PermissionRule, PrincipalKind};

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![
        PermissionRule::everywhere("parta.membership.v1.AuthenticationService/RequestCode", |_| true),
        PermissionRule::everywhere("parta.membership.v1.AuthenticationService/VerifyCode", |_| true),
        PermissionRule::own("parta.membership.v1.OperatorService/UnlockSignIn", |kind| {
            kind == PrincipalKind::Operator
        }),
    ]
}
