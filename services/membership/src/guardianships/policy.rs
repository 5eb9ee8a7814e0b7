//! Rules for seeing guardianships and deciding about them: pure functions over facts of the roster.
use std::collections::BTreeSet;

use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::{MemberId, TypedId as _, UnitId, Uuid};
use parta_roster::{MemberContext, Role};

/// Whether the caller may list guardianships at all; the list holds only those that [`see`] allows.
pub(crate) fn read(caller: &MemberContext) -> Decision {
    Decision::inside_if(caller.is_active())
}

/// Whether the caller may decide about relations of a child whose home units are `home` (R27): the
/// administration, and the leader of a home unit who is no substitute. Whether the matter is the caller's own
/// is decided by [`is_own_matter`].
pub(crate) fn decide(caller: &MemberContext, child: MemberId, home: &BTreeSet<UnitId>) -> Decision {
    let is_leader = caller.is_cleared() && home.iter().any(|unit| caller.is_class_teacher_of(*unit));
    let allowed = caller.member_id != child && (caller.is_administration() || is_leader);
    Decision::allow_if(
        allowed,
        "Only the leader of the child's home unit and the administration can decide about guardianships.",
    )
}

/// Whether the caller may do what only the administration decides.
pub(crate) fn administer(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}

/// Whether the student may choose what stays of a relation after the 18th birthday.
pub(crate) fn choose(caller: &MemberContext, child: MemberId) -> Decision {
    Decision::allow_if(
        caller.is_active() && caller.member_id == child,
        "Only the student can choose what the guardianship keeps.",
    )
}

/// Whether another person has to decide (F6): the caller is the guardian of the relation, or a
/// guardian of the same child.
pub(crate) fn is_own_matter(caller: MemberId, guardian: MemberId, guardians: &BTreeSet<MemberId>) -> bool {
    caller == guardian || guardians.contains(&caller)
}

/// Whether the caller may know of a relation.
pub(crate) fn see(caller: &MemberContext, guardian: MemberId, child: MemberId, decides: bool) -> bool {
    caller.is_active() && ([guardian, child].contains(&caller.member_id) || decides)
}

/// Whether a sample of this kind may decide about a child of the sample unit, who is no sample itself.
fn decides_sample(kind: PrincipalKind) -> bool {
    let child = MemberId::from_uuid(Uuid::from_u128(4));
    let home = BTreeSet::from([MemberContext::sample_unit()]);
    MemberContext::sample(kind).is_some_and(|facts| decide(&facts, child, &home).is_allowed())
}

/// Whether a sample of this kind may choose for itself. The student of the sample relation is the sample
/// pupil.
fn chooses_sample(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|facts| {
        facts.roles.contains(&Role::Pupil) && choose(&facts, facts.member_id).is_allowed()
    })
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let reads = |kind| MemberContext::sample(kind).is_some_and(|facts| read(&facts).is_allowed());
    let administers = |kind| MemberContext::sample(kind).is_some_and(|facts| administer(&facts).is_allowed());
    vec![
        PermissionRule::own("parta.membership.v1.GuardianshipService/ListGuardianships", reads),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/ProposeGuardianship",
            decides_sample,
        ),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/ConfirmGuardianship",
            decides_sample,
        ),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/ConfirmGuardianships",
            decides_sample,
        ),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/EndGuardianship",
            decides_sample,
        ),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/LimitGuardianship",
            decides_sample,
        ),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/ProtectFamily",
            administers,
        ),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/UnprotectFamily",
            administers,
        ),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/SetBirthDate",
            administers,
        ),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/GetChildRecord",
            administers,
        ),
        PermissionRule::own(
            "parta.membership.v1.GuardianshipService/ChooseAdultAccess",
            chooses_sample,
        ),
    ]
}
