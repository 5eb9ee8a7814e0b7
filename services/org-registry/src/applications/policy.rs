//! Permissions for applications. An applicant has no organization yet. Only the operator can see and decide
//! applications.
use parta_access::{Decision, PermissionRule, PrincipalKind};

use crate::context::Operator;

/// Allows the operator, whose key was checked, to create the organization of every application. The decision
/// makes the `OrgScope` without which no organization is stored. The other acts of the operator store nothing
/// of an organization, so that they need no decision.
pub(super) fn approve(_: &Operator) -> Decision {
    Decision::Allow
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let mut rules = vec![PermissionRule::everywhere(
        "parta.org_registry.v1.ApplicationService/SubmitApplication",
        |kind| matches!(kind, PrincipalKind::Anonymous | PrincipalKind::Account),
    )];
    let operators = [
        "parta.org_registry.v1.ApplicationService/GetApplication",
        "parta.org_registry.v1.ApplicationService/ListApplications",
        "parta.org_registry.v1.ApplicationService/DownloadApplicationOrder",
        "parta.org_registry.v1.ApplicationService/ApproveApplication",
        "parta.org_registry.v1.ApplicationService/RefuseApplication",
    ];
    rules
        .extend(operators.map(|rpc| PermissionRule::everywhere(rpc, |kind| kind == PrincipalKind::Operator)));
    rules
}
