//! Rules for removing members.
use parta_access::Decision;
use parta_roster::{MemberContext, Role};

/// Whether the caller may remove this member.
pub(crate) fn remove(caller: &MemberContext, member: &MemberContext) -> Decision {
    let is_administrator = member.roles.contains(&Role::Administrator);
    Decision::allow_if(
        caller.is_administration() && (caller.is_administrator() || !is_administrator),
        "Only the administration can remove members, and only an administrator can remove an administrator.",
    )
}
