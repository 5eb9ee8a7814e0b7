//! Rules for administering external systems.
use parta_access::{Decision, PermissionRule};
use parta_roster::MemberContext;

/// Whether the caller may create, revoke and list service accounts and their keys.
pub(crate) fn administer(caller: &MemberContext) -> Decision {
    crate::member_records::administer(caller)
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let rpcs = [
        "parta.membership.v1.ServiceAccountService/CreateServiceAccount",
        "parta.membership.v1.ServiceAccountService/RevokeServiceAccount",
        "parta.membership.v1.ServiceAccountService/RotateServiceAccountKey",
        "parta.membership.v1.ServiceAccountService/RevokeServiceAccountKey",
        "parta.membership.v1.ServiceAccountService/GetPermissionCatalog",
        "parta.membership.v1.ServiceAccountService/ListServiceAccounts",
    ];
    let administers = |kind| MemberContext::sample(kind).is_some_and(|facts| administer(&facts).is_allowed());
    let mut rules = rpcs.map(|rpc| PermissionRule::own(rpc, administers)).to_vec();
    // The key in the request is the credential.
    rules.push(PermissionRule::everywhere(
        "parta.membership.v1.ServiceAccountService/IssueServiceAccountToken",
        |_| true,
    ));
    rules
}
