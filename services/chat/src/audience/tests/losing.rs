//! Whoever is suspended or loses a duty reaches nobody new, and nobody else reaches him who did not before.
use parta_roster::{MemberContext, Role};
use proptest::prelude::*;

use super::policy::{any_facts, every_rule};
use crate::{
    audience::policy::participation,
    talk_policy::{may_name, may_talk},
};

/// Every way in which one of the two reaches the other.
fn reach(one: &MemberContext, other: &MemberContext) -> [bool; 3] {
    [
        may_talk(one, other),
        may_name(one, other),
        may_name(other, one),
    ]
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    // Covers: R82 refused, F2 refused, F5 refused
    #[test]
    fn suspended_member_gains_nothing(
        before in any_facts(1),
        other in any_facts(2),
        suspended in prop::collection::btree_set(prop::sample::select(Role::ALL.to_vec()), 0..4),
    ) {
        let mut after = before.clone();
        after.suspend(&suspended);
        gains_nothing(&before, &after, &other)?;
        if before.roles.is_subset(&suspended) && !before.roles.is_empty() {
            prop_assert!(!after.is_active());
            prop_assert!(!may_talk(&after, &other));
            prop_assert!(every_rule().all(|rule| participation(rule, &after).is_none()));
        }
    }
}
