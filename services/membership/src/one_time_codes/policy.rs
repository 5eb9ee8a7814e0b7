//! Rules for one-time codes: pure functions over facts of the roster.
use std::collections::BTreeSet;

use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::{MemberId, TypedId as _, UnitId, Uuid};
use parta_roster::{MemberContext, Role, State};

use super::model::IssuedBy;

/// Returns who gives codes to a member. A suspended role counts too: it protects its holder.
pub(super) fn issued_by(member: &MemberContext) -> IssuedBy {
    if member.holds(Role::Administrator) || member.holds(Role::Head) {
        IssuedBy::Operator
    } else if member.holds_staff_role() {
        IssuedBy::TwoOfAdministration
    } else {
        IssuedBy::LeaderOrAdministration
    }
}

/// Whether the caller may give a code to a member, whose home units, or those of whose children, are `home`.
/// [`issued_by`] says whether a second person or the operator is needed, and the operation whether the matter
/// is the caller's own.
pub(super) fn issue(caller: &MemberContext, member: &MemberContext, home: &BTreeSet<UnitId>) -> Decision {
    let leads = caller.is_cleared() && home.iter().any(|unit| caller.is_class_teacher_of(*unit));
    let is_leader = leads && issued_by(member) == IssuedBy::LeaderOrAdministration;
    Decision::allow_if(
        caller.is_administration() || is_leader,
        "Only the administration and, for pupils and parents, the leader of the home unit can give codes.",
    )
}

/// Whether the caller may read and revoke the code of a member.
pub(super) fn read(caller: &MemberContext, member: &MemberContext, home: &BTreeSet<UnitId>) -> Decision {
    let own = caller.is_active() && caller.member_id == member.member_id;
    if own || caller.is_guardian_of(member.member_id) {
        return Decision::Allow;
    }
    issue(caller, member, home)
}

/// Whether the caller may confirm the use of a code. `decides` says whether the caller is a guardian who may
/// decide for the child.
pub(super) fn confirm(caller: &MemberContext, decides: bool) -> Decision {
    Decision::allow_if(
        caller.is_administration() || (caller.is_active() && decides),
        "Only a guardian of the pupil and the administration can confirm the use of a code.",
    )
}

/// The operator may do what the school cannot do by itself; the operation decides for whom.
pub(super) fn by_operator() -> Decision {
    Decision::Allow
}

/// Whether a sample of this kind may act about a pupil of the sample unit, who is no sample and no child of
/// one.
fn of_pupil(
    kind: PrincipalKind,
    rule: fn(&MemberContext, &MemberContext, &BTreeSet<UnitId>) -> Decision,
) -> bool {
    MemberContext::sample(kind).is_some_and(|facts| {
        let id = MemberId::from_uuid(Uuid::from_u128(44));
        let pupil = MemberContext::new(facts.org_id, id, State::Active, [Role::Pupil]);
        let home = BTreeSet::from([MemberContext::sample_unit()]);
        rule(&facts, &pupil, &home).is_allowed()
    })
}

fn is_operator(kind: PrincipalKind) -> bool {
    kind == PrincipalKind::Operator
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![
        PermissionRule::own(
            "parta.membership.v1.OneTimeCodeService/IssueOneTimeCode",
            |kind| is_operator(kind) || of_pupil(kind, issue),
        ),
        PermissionRule::own("parta.membership.v1.OneTimeCodeService/GetOneTimeCode", |kind| {
            of_pupil(kind, read)
        }),
        PermissionRule::everywhere("parta.membership.v1.OneTimeCodeService/RedeemOneTimeCode", |_| {
            true
        }),
        PermissionRule::own(
            "parta.membership.v1.OneTimeCodeService/ConfirmOneTimeCode",
            |kind| {
                is_operator(kind)
                    || MemberContext::sample(kind).is_some_and(|facts| confirm(&facts, false).is_allowed())
            },
        ),
        PermissionRule::own(
            "parta.membership.v1.OneTimeCodeService/RevokeOneTimeCode",
            |kind| is_operator(kind) || of_pupil(kind, read),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use parta_ids::OrgId;

    use super::*;

    fn member(id: u128, roles: &[Role]) -> MemberContext {
        let (org, id) = (
            OrgId::from_uuid(Uuid::from_u128(1)),
            MemberId::from_uuid(Uuid::from_u128(id)),
        );
        MemberContext::new(org, id, State::Active, roles.iter().copied())
    }

    /// All sets of roles.
    fn sets() -> Vec<Vec<Role>> {
        let all = Role::ALL;
        (0..1_u32 << all.len())
            .map(|mask| {
                let held = all.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
                held.map(|(_, role)| *role).collect()
            })
            .collect()
    }

    #[test]
    fn code_never_leads_to_a_higher_role() {
        let unit = MemberContext::sample_unit();
        let home = BTreeSet::from([unit]);
        for of_caller in sets() {
            let mut caller = member(2, &of_caller);
            caller.teacher_verified = true;
            caller.assign(unit, true, false);
            for of_member in sets() {
                let member = member(3, &of_member);
                let by = issued_by(&member);
                if of_member.contains(&Role::Administrator) || of_member.contains(&Role::Head) {
                    assert_eq!(by, IssuedBy::Operator, "{of_member:?}");
                } else if of_member.iter().any(|role| role.is_staff()) {
                    assert_eq!(by, IssuedBy::TwoOfAdministration, "{of_member:?}");
                }
                let allowed = issue(&caller, &member, &home).is_allowed();
                if allowed && by != IssuedBy::LeaderOrAdministration {
                    assert!(caller.is_administration(), "{of_caller:?} {of_member:?}");
                }
                if allowed && !caller.is_administration() {
                    assert!(of_caller.contains(&Role::Teacher), "{of_caller:?} {of_member:?}");
                }
            }
        }
    }

    #[test]
    fn suspended_role_still_protects_its_holder() {
        let mut administrator = member(3, &[Role::Administrator, Role::Parent]);
        administrator.suspend(&BTreeSet::from([Role::Administrator]));
        assert_eq!(issued_by(&administrator), IssuedBy::Operator);
    }

    #[test]
    fn substitute_and_leader_of_another_unit_give_no_codes() {
        let unit = MemberContext::sample_unit();
        let (pupil, home) = (member(3, &[Role::Pupil]), BTreeSet::from([unit]));
        let mut substitute = member(2, &[Role::Teacher]);
        substitute.teacher_verified = true;
        substitute.assign(unit, true, true);
        assert!(!issue(&substitute, &pupil, &home).is_allowed());
        let mut leader = member(2, &[Role::Teacher]);
        leader.teacher_verified = true;
        leader.assign(unit, true, false);
        assert!(issue(&leader, &pupil, &home).is_allowed());
        assert!(!issue(&leader, &pupil, &BTreeSet::new()).is_allowed());
    }
}
