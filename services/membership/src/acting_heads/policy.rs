//! Rules for acting heads: pure functions over facts of the roster.
use parta_access::{Decision, PermissionRule};
use parta_roster::MemberContext;

/// Whether the caller may appoint an acting head and end the appointment. Whether the matter is the caller's
/// own is decided with the row.
pub(crate) fn appoint(caller: &MemberContext) -> Decision {
    crate::member_records::administer(caller)
}

/// Whether the caller may know who acts as the head.
pub(crate) fn read(caller: &MemberContext) -> Decision {
    Decision::allow_if(caller.is_staff(), "Only the staff can read who acts as the head.")
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let appoints = |kind| MemberContext::sample(kind).is_some_and(|facts| appoint(&facts).is_allowed());
    vec![
        PermissionRule::own("parta.membership.v1.RoleService/AppointActingHead", appoints),
        PermissionRule::own("parta.membership.v1.RoleService/EndActingHead", appoints),
        PermissionRule::own("parta.membership.v1.RoleService/GetActingHead", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| read(&facts).is_allowed())
        }),
    ]
}
