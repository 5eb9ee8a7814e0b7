//! Rules for moving pupils.
use parta_access::{Decision, PermissionRule};
use parta_roster::MemberContext;

/// Whether the caller may enroll pupils and transfer them.
pub(crate) fn manage(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let manages = |kind| MemberContext::sample(kind).is_some_and(|facts| manage(&facts).is_allowed());
    vec![
        PermissionRule::own("parta.membership.v1.EnrollmentService/EnrollPupil", manages),
        PermissionRule::own("parta.membership.v1.EnrollmentService/TransferPupil", manages),
    ]
}
