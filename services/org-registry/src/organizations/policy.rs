//! Permissions to read and change an organization: pure functions over facts of the roster.
use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_roster::MemberContext;

use crate::context::Reader;

/// Whether the caller may see the organization's data: its active members, its service accounts and the
/// operator.
pub(super) fn read(reader: &Reader) -> Decision {
    match reader {
        Reader::Member(facts) => {
            Decision::allow_if(facts.is_active(), "Only active members can see the organization.")
        }
        Reader::ServiceAccount | Reader::Operator => Decision::Allow,
    }
}

/// Whether the caller may change data: the administrator.
pub(super) fn administer(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_administrator(),
        "Only the administrator can change the organization's data.",
    )
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let administers = |kind| MemberContext::sample(kind).is_some_and(|facts| administer(&facts).is_allowed());
    vec![
        PermissionRule::own(
            "parta.org_registry.v1.OrganizationService/GetOrganization",
            |kind| Reader::sample(kind).is_some_and(|reader| read(&reader).is_allowed()),
        ),
        PermissionRule::own(
            "parta.org_registry.v1.OrganizationService/ListOrganizations",
            |kind| kind == PrincipalKind::Operator,
        ),
        PermissionRule::own(
            "parta.org_registry.v1.OrganizationService/UpdateOrganization",
            administers,
        ),
    ]
}
