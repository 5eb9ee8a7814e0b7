//! Rules for giving and ending assignments.
use parta_access::{Decision, PermissionRule};
use parta_roster::MemberContext;

use crate::member_records::reads_sample;

/// Whether the caller may give assignments and end them.
pub(crate) fn manage(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let manages = |kind| MemberContext::sample(kind).is_some_and(|facts| manage(&facts).is_allowed());
    vec![
        PermissionRule::own("parta.membership.v1.AssignmentService/CreateAssignment", manages),
        PermissionRule::own("parta.membership.v1.AssignmentService/EndAssignment", manages),
        PermissionRule::own(
            "parta.membership.v1.AssignmentService/ListAssignments",
            reads_sample,
        ),
    ]
}
