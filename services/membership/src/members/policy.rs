//! Rules for creating expected members.
use parta_access::{Decision, PermissionRule};
use parta_ids::UnitId;
use parta_roster::{MemberContext, Role};

use crate::member_records::{manage, reads_sample};

/// Whether the caller may create the record of an expected member.
pub(crate) fn create_member(caller: &MemberContext, role: Role, unit: Option<UnitId>) -> Decision {
    let own_pupil =
        role == Role::Pupil && caller.is_cleared() && unit.is_some_and(|u| caller.is_class_teacher_of(u));
    let any = caller.is_administration() && role != Role::Administrator;
    Decision::allow_if(
        any || own_pupil,
        "Only the administration can create expected members; a class teacher can create pupils of the own class.",
    )
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![
        PermissionRule::own("parta.membership.v1.MemberService/GetMember", reads_sample),
        PermissionRule::own("parta.membership.v1.MemberService/BatchGetMembers", reads_sample),
        PermissionRule::own("parta.membership.v1.MemberService/ListMembers", reads_sample),
        PermissionRule::own("parta.membership.v1.MemberService/CreateMember", |kind| {
            let unit = Some(MemberContext::sample_unit());
            MemberContext::sample(kind)
                .is_some_and(|facts| create_member(&facts, Role::Pupil, unit).is_allowed())
        }),
        PermissionRule::own("parta.membership.v1.MemberService/UnlockMemberSignIn", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| manage(&facts).is_allowed())
        }),
    ]
}
