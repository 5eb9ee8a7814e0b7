//! Rules for removing members.
use parta_access::Decision;
use parta_roster::{MemberContext, Role};

/// Whether the caller may remove this member, with or without a stated reason.
pub(crate) fn remove(caller: &MemberContext, member: &MemberContext, has_cause: bool) -> Decision {
    let is_administrator = member.holds(Role::Administrator);
    let may_remove =
        caller.is_administrator() || !is_administrator || stops_administrator(caller, member, has_cause);
    Decision::allow_if(
        caller.is_administration() && may_remove,
        "Only the administration can remove members, and only an administrator, or the head with a cause, can \
         remove an administrator.",
    )
}

/// Whether the head removes another person, an administrator, for a stated reason. No rule on the last
/// administrator delays it (F5).
pub(super) fn stops_administrator(caller: &MemberContext, member: &MemberContext, has_cause: bool) -> bool {
    has_cause
        && caller.is_active()
        && caller.roles.contains(&Role::Head)
        && member.holds(Role::Administrator)
        && caller.member_id != member.member_id
}
