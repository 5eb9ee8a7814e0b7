//! Rules for duties: pure functions over facts of the roster.
use parta_access::{Decision, PermissionRule};
use parta_roster::MemberContext;

/// Whether the caller may assign and end duties. Whether a duty is the caller's own is decided with its
/// row.
pub(crate) fn manage(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}

/// Whether the caller may list duties: the administration all, other staff their own.
pub(crate) fn list(caller: &MemberContext) -> Decision {
    Decision::allow_if(caller.is_staff(), "Only the staff can list duties.")
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let manages = |kind| MemberContext::sample(kind).is_some_and(|facts| manage(&facts).is_allowed());
    vec![
        PermissionRule::own("parta.membership.v1.DutyService/AssignDuty", manages),
        PermissionRule::own("parta.membership.v1.DutyService/EndDuty", manages),
        PermissionRule::own("parta.membership.v1.DutyService/ListDuties", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| list(&facts).is_allowed())
        }),
    ]
}
