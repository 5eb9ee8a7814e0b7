//! A member who is suspended or loses a duty reaches nobody new, and is reached by nobody new.
use parta_roster::{Duty, DutyKind, DutyScope, MemberContext, Role};
use proptest::prelude::*;

use super::policy::{any_facts, every_rule, member, unit};
use crate::{
    audience::policy::participation,
    talk_policy::{may_name, may_talk},
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
        let (had, has) = (participation(rule, before), participation(rule, after));
        prop_assert!(has.is_none() || had.is_some(), "{:?}", rule);
        let posts = |rights: Option<crate::entries::Participation>| rights.is_some_and(|r| r.may_post);
        prop_assert!(!posts(has) || posts(had), "{:?}", rule);
    }
    for (had, has) in reach(before, other).into_iter().zip(reach(after, other)) {
        prop_assert!(!has || had);
    }
    Ok(())
}

fn any_duty() -> impl Strategy<Value = Duty> {
    let scope = prop_oneof![
        Just(DutyScope::Organization),
        (10..13_u128).prop_map(|n| DutyScope::Unit(unit(n))),
        prop::collection::btree_set((1..6_u128).prop_map(member), 1..3).prop_map(DutyScope::Pupils),
    ];
    (prop::sample::select(DutyKind::ALL.to_vec()), scope).prop_map(|(kind, scope)| Duty { kind, scope })
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
            prop_assert!(every_rule().all(|rule| participation(rule, &after).is_none()));
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
}
