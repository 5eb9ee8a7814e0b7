//! The rules for changing an address: a person changes their own.
use parta_access::{PermissionRule, PrincipalKind};

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let person = |kind| kind == PrincipalKind::Account;
    vec![
        PermissionRule::everywhere("parta.membership.v1.AccountService/RequestContactChange", person),
        PermissionRule::everywhere("parta.membership.v1.AccountService/ConfirmContactChange", person),
    ]
}
