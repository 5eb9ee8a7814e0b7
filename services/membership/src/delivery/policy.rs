//! The rule for reading the outbox: only the operator.
use parta_access::{PermissionRule, PrincipalKind};

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![PermissionRule::own(
        "parta.membership.v1.OperatorService/ListOutboxMessages",
        |kind| kind == PrincipalKind::Operator,
    )]
}
