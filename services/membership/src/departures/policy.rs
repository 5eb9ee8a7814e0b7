//! Rules for removing members.
use parta_access::{Decision, PermissionRule, PrincipalKind};
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

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![PermissionRule::own(
        "parta.membership.v1.MemberService/RemoveMember",
        |kind| {
            let pupil = MemberContext::sample(PrincipalKind::Pupil);
            let samples = MemberContext::sample(kind).zip(pupil);
            samples.is_some_and(|(facts, pupil)| remove(&facts, &pupil, false).is_allowed())
        },
    )]
}
