//! A member who is suspended or loses a duty reaches nobody new, and is reached by nobody new.
use std::collections::BTreeSet;

use parta_ids::{OrgId, TypedId};
use parta_roster::{Child, Duty, DutyKind, DutyScope, MemberContext, Role, State};
use proptest::prelude::*;
use uuid::Uuid;

use super::policy::{any_facts, every_rule, member, unit};
use crate::{
    audience::policy::participant_rights,
    talk_policy::{may_name, may_talk, must_leave},
};

/// Every way in which one of the two reaches the other.
fn reach(one: &MemberContext, other: &MemberContext) -> [bool; 3] {
    [may_talk(one, other), may_name(one, other), may_name(other, one)]
}

fn gains_nothing(
    before: &MemberContext,
    after: &MemberContext,
    other: &MemberContext,
) -> Result<(), TestCaseError> {
    for rule in every_rule() {
        let (had, has) = (participant_rights(rule, before), participant_rights(rule, after));
        prop_assert!(has.is_none() || had.is_some(), "{:?}", rule);
        let posts = |rights: Option<crate::entries::ParticipantRights>| rights.is_some_and(|r| r.may_post);
        prop_assert!(!posts(has) || posts(had), "{:?}", rule);
    }
    for (had, has) in reach(before, other).into_iter().zip(reach(after, other)) {
        prop_assert!(!has || had);
    }
    Ok(())
}

/// Whether all of these people may be in one named chat.
fn together(one: &MemberContext, others: &[MemberContext]) -> bool {
    let people: Vec<_> = [one].into_iter().chain(others).cloned().collect();
    must_leave(&people).is_empty()
}

/// A chat that may exist after the loss was possible before it.
fn shares_nothing_new(
    before: &MemberContext,
    after: &MemberContext,
    others: &[MemberContext],
) -> Result<(), TestCaseError> {
    // A pupil who is a pupil no longer is protected no longer, which is not the loss of a right.
    let stays_pupil = before.holds(Role::Pupil) == after.holds(Role::Pupil);
    let is_new = together(after, others) && !together(before, others);
    prop_assert!(
        !stays_pupil || !is_new,
        "{:#?} -> {:#?} with {:#?}",
        before,
        after,
        others
    );
    Ok(())
}

prop_compose! {
    /// A member of one of two classes with what the roles can carry, so that many may share a chat.
    fn any_person(id: u128)(
        roles in prop::sample::select(vec![
            vec![Role::Pupil], vec![Role::Pupil], vec![Role::Parent], vec![Role::Parent, Role::Teacher],
            vec![Role::Teacher], vec![Role::Teacher, Role::Deputy], vec![Role::Staff],
            vec![Role::Administrator, Role::Parent], vec![Role::Pupil, Role::Parent],
        ]),
        teacher_verified in prop::bool::weighted(0.8),
        units in prop::collection::btree_set((10..12_u128).prop_map(unit), 1..3),
        tasks in prop::collection::vec(((10..12_u128).prop_map(unit), any::<bool>()), 0..3),
        children in prop::collection::btree_map((1..6_u128).prop_map(member), (10..12_u128).prop_map(unit), 1..3),
        duties in any_duties(),
        archived in prop::collection::btree_set((10..12_u128).prop_map(unit), 0..2),
        is_suspended in prop::bool::weighted(0.1),
    ) -> MemberContext {
        let org = OrgId::from_uuid(Uuid::from_u128(1));
        let mut facts = MemberContext::new(org, member(id), State::Active, roles);
        facts.teacher_verified = teacher_verified;
        for (unit, substitution) in tasks {
            facts.assign(unit, false, substitution);
        }
        facts.peer_units.clone_from(&units);
        facts.enrolled_in = units;
        // Nobody is their own child.
        let children = children.into_iter().filter(|(child, _)| *child != facts.member_id);
        facts.children = children.map(|(child, unit)| Child::new(child, [unit].into())).collect();
        facts.duties = duties;
        facts.archived_units = archived;
        if is_suspended {
            facts.suspend(&Role::ALL.into());
        }
        facts
    }
}

/// The ways in which a member can lose something.
#[derive(Debug, Clone)]
enum Loss {
    Roles(BTreeSet<Role>),
    Suspension(BTreeSet<Role>),
    Badge,
    Duty,
    Task,
    Substitution,
    Relation,
    Enrollment,
    Archiving,
}

fn any_loss() -> impl Strategy<Value = Loss> {
    let roles = || prop::collection::btree_set(prop::sample::select(Role::ALL.to_vec()), 1..4);
    prop_oneof![
        roles().prop_map(Loss::Roles),
        roles().prop_map(Loss::Suspension),
        Just(Loss::Badge),
        Just(Loss::Duty),
        Just(Loss::Task),
        Just(Loss::Substitution),
        Just(Loss::Relation),
        Just(Loss::Enrollment),
        Just(Loss::Archiving),
    ]
}

fn after(before: &MemberContext, loss: &Loss) -> MemberContext {
    let mut after = before.clone();
    match loss {
        Loss::Roles(roles) => after.roles.retain(|role| !roles.contains(role)),
        Loss::Suspension(roles) => after.suspend(roles),
        Loss::Badge => after.teacher_verified = false,
        Loss::Duty => _ = after.duties.pop(),
        Loss::Task => _ = after.teaches.pop_first(),
        Loss::Substitution => _ = after.substitute_in.pop_first(),
        Loss::Relation => _ = after.children.pop(),
        Loss::Enrollment => {
            after.enrolled_in.pop_first();
            after.peer_units = after
                .peer_units
                .intersection(&after.enrolled_in)
                .copied()
                .collect();
        }
        Loss::Archiving => _ = after.archived_units.insert(unit(10)),
    }
    after
}

fn any_duty() -> impl Strategy<Value = Duty> {
    let scope = prop_oneof![
        Just(DutyScope::Organization),
        (10..13_u128).prop_map(|n| DutyScope::Unit(unit(n))),
        prop::collection::btree_set((1..6_u128).prop_map(member), 1..3).prop_map(DutyScope::Pupils),
    ];
    (prop::sample::select(DutyKind::ALL.to_vec()), scope).prop_map(|(kind, scope)| Duty {
        kind,
        scope,
        begin_time: None,
    })
}

fn any_duties() -> impl Strategy<Value = Vec<Duty>> {
    prop::collection::vec(any_duty(), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    // Covers: R82 refused, F2 refused, F5 refused
    #[test]
    fn suspended_member_gains_nothing(
        mut before in any_facts(1),
        mut other in any_facts(2),
        duties in (any_duties(), any_duties()),
        suspended in prop::collection::btree_set(prop::sample::select(Role::ALL.to_vec()), 0..4),
    ) {
        (before.duties, other.duties) = duties;
        let mut after = before.clone();
        after.suspend(&suspended);
        gains_nothing(&before, &after, &other)?;
        if before.roles.is_subset(&suspended) && !before.roles.is_empty() {
            prop_assert!(!after.is_active());
            prop_assert!(!may_talk(&after, &other));
            prop_assert!(every_rule().all(|rule| participant_rights(rule, &after).is_none()));
        }
    }

    // Covers: F2 refused, F3 refused
    #[test]
    fn member_who_loses_a_duty_gains_nothing(
        mut before in any_facts(1),
        mut other in any_facts(2),
        duties in (prop::collection::vec(any_duty(), 1..4), any_duties()),
        lost: prop::sample::Index,
    ) {
        (before.duties, other.duties) = duties;
        let mut after = before.clone();
        after.duties.remove(lost.index(before.duties.len()));
        gains_nothing(&before, &after, &other)?;
    }

    // Nobody shares a named chat with the member because of a loss or a suspension, in a chat of two to four.
    // Covers: R82 refused, F2 refused, F3 refused, F5 refused, F14 refused
    #[test]
    fn loss_widens_no_named_chat(
        before in any_person(1),
        others in (any_person(2), any_person(3), any_person(4)),
        number in 1..4_usize,
        loss in any_loss(),
    ) {
        let others = [others.0, others.1, others.2];
        // A suspension that lasts before the loss is kept. Under one of all roles the member
        // stays, neither reads nor writes, and is decided about again when it ends.
        let after = after(&before, &loss);
        if before.is_active() && after.is_active() {
            shares_nothing_new(&before, &after, &others[..number])?;
        }
    }

    // Those who remain may be together, so that one recomputation is enough, and a responsible adult has a
    // ground toward each pupil.
    // Covers: F14 refused, F15 refused
    #[test]
    fn those_who_remain_may_be_together(
        people in (any_person(1), any_person(2), any_person(3), any_person(4), any_person(5)),
    ) {
        let people = [people.0, people.1, people.2, people.3, people.4];
        let leaving = must_leave(&people);
        let staying: Vec<_> = people.iter().filter(|f| !leaving.contains(&f.member_id)).cloned().collect();
        prop_assert!(must_leave(&staying).is_empty(), "{:#?}", staying);
    }
}
