//! Rules for creating expected members and for releasing records.
use std::collections::BTreeSet;

use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::{MemberId, TypedId as _, UnitId, Uuid};
use parta_roster::{MemberContext, Role, State};

use crate::member_records::{manage, reads_sample};

/// Whether the caller may create the record of an expected member.
pub(crate) fn create_member(caller: &MemberContext, role: Role, unit: Option<UnitId>) -> Decision {
    let own_pupil =
        role == Role::Pupil && caller.is_cleared() && unit.is_some_and(|u| caller.is_class_teacher_of(u));
    let any = caller.is_administration() && role != Role::Administrator;
    Decision::allow_if(
        any || own_pupil,
        "Only the administration can create expected members; a class teacher can create pupils of their own class.",
    )
}

/// Whether the caller may release the record of this member, whose home units are `home`. Whether the
/// matter is the caller's own is decided elsewhere.
pub(crate) fn release(caller: &MemberContext, member: &MemberContext, home: &BTreeSet<UnitId>) -> Decision {
    let leads = caller.is_cleared() && home.iter().any(|unit| caller.is_class_teacher_of(*unit));
    let is_leader = leads && member.holds(Role::Pupil);
    let may_touch = caller.is_administrator() || !member.holds(Role::Administrator);
    Decision::allow_if(
        is_leader || (caller.is_administration() && may_touch),
        "Only the administration and the leader of the home unit can release a profile, and only an \
         administrator that of an administrator.",
    )
}

/// Whether a sample of this kind may release the record of a pupil of the sample unit.
fn releases_sample(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|facts| {
        let (id, home) = (
            MemberId::from_uuid(Uuid::from_u128(4)),
            BTreeSet::from([MemberContext::sample_unit()]),
        );
        let pupil = MemberContext::new(facts.org_id, id, State::Active, [Role::Pupil]);
        release(&facts, &pupil, &home).is_allowed()
    })
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
        PermissionRule::own(
            "parta.membership.v1.MemberService/ReleaseProfile",
            releases_sample,
        ),
    ]
}
