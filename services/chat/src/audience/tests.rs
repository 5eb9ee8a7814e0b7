use std::collections::BTreeMap;

use parta_access::PrincipalKind;
use parta_ids::{MemberId, OrgId, TypedId, UnitId};
use parta_roster::{Child, MemberContext, Role, State};
use proptest::prelude::*;
use uuid::Uuid;

use super::policy::*;
use crate::{entries::model::*, talk_policy::*};

fn member(n: u128) -> MemberId {
    MemberId::from_uuid(Uuid::from_u128(n))
}

fn unit(n: u128) -> UnitId {
    UnitId::from_uuid(Uuid::from_u128(n))
}

prop_compose! {
    /// Any member of a school with three classes.
    fn any_facts(id: u128)(
        state in prop::sample::select(vec![State::Expected, State::Active, State::Active, State::Left]),
        roles in prop::collection::btree_set(prop::sample::select(Role::ALL.to_vec()), 0..3),
        teacher_verified: bool,
        verification_required: bool,
        school_channel_open_to_families: bool,
        teaches in prop::collection::btree_set((10..13_u128).prop_map(unit), 0..3),
        class_teacher_of in prop::collection::btree_set((10..13_u128).prop_map(unit), 0..2),
        enrolled_in in prop::collection::btree_set((10..13_u128).prop_map(unit), 0..2),
        child in prop::option::of(((1..6_u128).prop_map(member), prop::collection::btree_set((10..13_u128).prop_map(unit), 0..2))),
    ) -> MemberContext {
        let mut facts = MemberContext::new(OrgId::from_uuid(Uuid::from_u128(1)), member(id), state, roles);
        facts.teacher_verified = teacher_verified;
        facts.policies.verification_required = verification_required;
        facts.policies.school_channel_open_to_families = school_channel_open_to_families;
        facts.teaches = teaches;
        facts.class_teacher_of = class_teacher_of;
        facts.enrolled_in = enrolled_in;
        facts.children = child.into_iter().map(|(member_id, units)| Child { member_id, units }).collect();
        facts
    }
}

fn every_rule() -> impl Iterator<Item = Rule> {
    [Rule::School, Rule::Staff]
        .into_iter()
        .chain((10..13).flat_map(|n| Rule::of_unit(unit(n))))
}

proptest! {
    /// R38: the recomputation looks at every chat in which the member could have a seat.
    #[test]
    fn no_rule_outside_the_derived_ones_gives_a_seat(facts in any_facts(1)) {
        let looked_at = derived_rules(&facts);
        for rule in every_rule().filter(|rule| !looked_at.contains(rule)) {
            prop_assert_eq!(seat(rule, &facts), None);
        }
    }

    /// R22: an unverified teacher who is nothing else is in «Сотрудники» alone and reaches no pupil.
    #[test]
    fn who_may_not_meet_minors_sits_with_none(mut facts in any_facts(1), other in any_facts(2)) {
        facts.roles = [Role::Teacher].into();
        facts.children.clear();
        if facts.is_active() && !facts.may_meet_minors() {
            for rule in every_rule().filter(|rule| *rule != Rule::Staff) {
                prop_assert_eq!(seat(rule, &facts), None);
            }
            prop_assert!(seat(Rule::Staff, &facts).is_some());
            if other.roles.contains(&Role::Pupil) && !other.is_guardian_of(facts.member_id) {
                prop_assert!(!may_talk(&facts, &other));
                prop_assert!(!may_name(&facts, &other));
            }
        }
    }

    /// R26: who is not there has no seat, talks with nobody and is taken out of every room.
    #[test]
    fn who_is_not_active_is_nowhere(facts in any_facts(1), other in any_facts(2)) {
        if !facts.is_active() {
            prop_assert!(every_rule().all(|rule| seat(rule, &facts).is_none()));
            prop_assert!(!may_talk(&facts, &other) && !may_talk(&other, &facts));
            prop_assert!(must_leave(&[facts.clone(), other]).contains(&facts.member_id));
        }
    }

    /// R37: it takes two to talk, and the pair has one chat.
    #[test]
    fn talking_is_symmetric(one in any_facts(1), other in any_facts(2)) {
        prop_assert_eq!(may_talk(&one, &other), may_talk(&other, &one));
        prop_assert_eq!(pair_key(one.member_id, other.member_id), pair_key(other.member_id, one.member_id));
        prop_assert!(!may_talk(&one, &one));
    }

    /// R33: only the administration writes in the channel of the school.
    #[test]
    fn the_school_channel_is_written_by_the_administration(facts in any_facts(1)) {
        if let Some(seat) = seat(Rule::School, &facts) {
            prop_assert_eq!(seat.may_post, facts.is_administration());
        }
    }

    /// R38: the difference, carried out, gives exactly who belongs there, and then there is none left.
    #[test]
    fn a_difference_leads_to_what_was_wanted(
        present in prop::collection::btree_map((1..9_u128).prop_map(member), any::<bool>(), 0..8),
        wanted in prop::collection::btree_map((1..9_u128).prop_map(member), any::<bool>(), 0..8),
    ) {
        let seats = |map: BTreeMap<MemberId, bool>| -> BTreeMap<_, _> {
            map.into_iter().map(|(m, may_post)| (m, Seat { may_post })).collect()
        };
        let (mut present, wanted) = (seats(present), seats(wanted));
        let diff = difference(&present, &wanted);
        prop_assert!(diff.joins.keys().all(|m| !present.contains_key(m)));
        prop_assert!(diff.leaves.iter().all(|m| present.contains_key(m)));
        present.retain(|m, _| !diff.leaves.contains(m));
        present.extend(diff.joins.clone());
        present.extend(diff.changes.clone());
        prop_assert_eq!(&present, &wanted);
        prop_assert!(difference(&present, &wanted).is_empty());
    }
}

#[test]
fn every_sample_of_the_authorization_table_has_a_row_for_every_rpc() {
    let rows = crate::permissions();
    let of_ours = |name: &str| crate::GRPC_SERVICES.contains(&name);
    let pool = parta_proto::descriptor_pool().unwrap();
    let rpcs: Vec<_> = pool
        .services()
        .filter(|s| of_ours(s.full_name()))
        .flat_map(|s| {
            s.methods()
                .map(|m| format!("{}/{}", s.full_name(), m.name()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(rows.len(), rpcs.len() * PrincipalKind::ALL.len());
    for rpc in rpcs {
        for kind in PrincipalKind::ALL {
            assert!(
                rows.iter().any(|row| row.rpc == rpc && row.kind == kind),
                "{rpc} {kind:?}"
            );
        }
    }
}
