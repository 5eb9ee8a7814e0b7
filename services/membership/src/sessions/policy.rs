//! The rules for sessions: an account reads and ends its own ones. The other calls present a proof of the
//! address or a refresh token.
use parta_access::{PermissionRule, PrincipalKind};

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let is_account = |kind| kind == PrincipalKind::Account;
    vec![
        PermissionRule::everywhere("parta.membership.v1.AuthenticationService/StartSession", |_| true),
        PermissionRule::everywhere("parta.membership.v1.AuthenticationService/RefreshSession", |_| {
            true
        }),
        PermissionRule::own("parta.membership.v1.AuthenticationService/EndSession", is_account),
        PermissionRule::everywhere(
            "parta.membership.v1.AuthenticationService/ListSessions",
            is_account,
        ),
        PermissionRule::own(
            "parta.membership.v1.AuthenticationService/IssueOrganizationToken",
            is_account,
        ),
        PermissionRule::everywhere(
            "parta.membership.v1.AuthenticationService/ListMemberships",
            is_account,
        ),
        PermissionRule::everywhere("parta.membership.v1.AuthenticationService/GetJwks", |_| true),
    ]
}
