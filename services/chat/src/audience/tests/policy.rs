use std::collections::BTreeMap;

use parta_access::PrincipalKind;
use parta_ids::{MemberId, OrgId, TypedId, UnitId};
use parta_roster::{Child, MemberContext, Role, State};
use proptest::prelude::*;
use uuid::Uuid;

use super::super::policy::{derived_rules, participant_rights};
use crate::{
    entries::{Beginning, ParticipantKind, ParticipantRights, Rule, difference, direct_chat_key},
    talk_policy::{may_name, may_talk, must_leave},
};

pub(super) fn member(n: u128) -> MemberId {
    MemberId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn unit(n: u128) -> UnitId {
    UnitId::from_uuid(Uuid::from_u128(n))
}

prop_compose! {
    /// Any member of a school with three classes.
    pub(super) fn any_facts(id: u128)(
        state in prop::sample::select(vec![State::Expected, State::Active, State::Active, State::Left]),
        roles in prop::collection::btree_set(prop::sample::select(Role::ALL.to_vec()), 0..3),
        teacher_verified: bool,
        verification_required: bool,
        school_channel_open_to_families: bool,
        substitution: bool,
        teaches in prop::collection::btree_set((10..13_u128).prop_map(unit), 0..3),
        class_teacher_of in prop::collection::btree_set((10..13_u128).prop_map(unit), 0..2),
        enrolled_in in prop::collection::btree_set((10..13_u128).prop_map(unit), 0..2),
        child in prop::option::of(((1..6_u128).prop_map(member), prop::collection::btree_set((10..13_u128).prop_map(unit), 0..2))),
    ) -> MemberContext {
        let mut facts = MemberContext::new(OrgId::from_uuid(Uuid::from_u128(1)), member(id), state, roles);
        facts.teacher_verified = teacher_verified;
        facts.policies.verification_required = verification_required;
        facts.policies.school_channel_open_to_families = school_channel_open_to_families;
        for unit in teaches {
            facts.assign(unit, false, substitution);
        }
        for unit in class_teacher_of {
            facts.assign(unit, true, !substitution);
        }
        facts.peer_units.clone_from(&enrolled_in);
        facts.enrolled_in = enrolled_in;
        facts.children = child.into_iter().map(|(child, units)| Child::new(child, units)).collect();
        facts
    }
}

pub(super) fn every_rule() -> impl Iterator<Item = Rule> {
    Rule::OF_ORGANIZATION
        .into_iter()
        .chain((10..13).flat_map(|n| Rule::of_unit(unit(n))))
}

proptest! {
    /// R38: the recomputation covers every chat in which the member could participate.
    #[test]
    fn derived_rules_include_every_rule_that_applies(facts in any_facts(1)) {
        let covered = derived_rules(&facts);
        for rule in every_rule().filter(|rule| !covered.contains(rule)) {
            prop_assert_eq!(participant_rights(rule, &facts), None);
        }
    }

    /// R22, F25: an unverified teacher without another role participates only in «Сотрудники» and
    /// «Учительская» and reaches no pupil.
    #[test]
    fn unverified_teacher_reaches_no_pupil(mut facts in any_facts(1), other in any_facts(2)) {
        facts.roles = [Role::Teacher].into();
        facts.children.clear();
        if facts.is_active() && !facts.is_cleared() {
            for rule in every_rule() {
                let is_for_staff = [Rule::Staff, Rule::StaffRoom].contains(&rule);
                prop_assert_eq!(participant_rights(rule, &facts).is_some(), is_for_staff);
            }
            if other.roles.contains(&Role::Pupil) && !other.is_guardian_of(facts.member_id) {
                prop_assert!(!may_talk(&facts, &other));
                prop_assert!(!may_name(&facts, &other));
            }
        }
    }

    /// R26: a member who is not active participates nowhere, talks with nobody and is removed from every
    /// chat.
    #[test]
    fn inactive_member_participates_nowhere(facts in any_facts(1), other in any_facts(2)) {
        if !facts.is_active() {
            prop_assert!(every_rule().all(|rule| participant_rights(rule, &facts).is_none()));
            prop_assert!(!may_talk(&facts, &other) && !may_talk(&other, &facts));
            prop_assert!(must_leave(&[facts.clone(), other]).contains(&facts.member_id));
        }
    }

    /// R37: the right to talk is symmetric, and a pair has one chat.
    #[test]
    fn right_to_talk_is_symmetric(one in any_facts(1), other in any_facts(2)) {
        prop_assert_eq!(may_talk(&one, &other), may_talk(&other, &one));
        prop_assert_eq!(direct_chat_key(one.member_id, other.member_id), direct_chat_key(other.member_id, one.member_id));
        prop_assert!(!may_talk(&one, &one));
    }

    /// R33, F25: only administrators and the head publish in the channels of the organization.
    #[test]
    fn only_administrators_and_the_head_publish(facts in any_facts(1)) {
        let publishes = facts.is_administrator() || facts.roles.contains(&Role::Head);
        for channel in Rule::OF_ORGANIZATION.into_iter().filter(|rule| *rule != Rule::StaffRoom) {
            if let Some(rights) = participant_rights(channel, &facts) {
                prop_assert_eq!(rights.may_post, publishes);
            }
        }
    }

    /// R38: applying the difference gives the wanted participants, and then no difference is left.
    #[test]
    fn difference_gives_wanted_participants(
        present in prop::collection::btree_map((1..9_u128).prop_map(member), any::<bool>(), 0..8),
        wanted in prop::collection::btree_map((1..9_u128).prop_map(member), any::<bool>(), 0..8),
    ) {
        let rights = |map: BTreeMap<MemberId, bool>| -> BTreeMap<_, _> {
            map.into_iter()
                .map(|(m, may_post)| (m, ParticipantRights { may_post, kind: ParticipantKind::Pupil, beginning: Beginning::default() }))
                .collect()
        };
        let (mut present, wanted) = (rights(present), rights(wanted));
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
fn permission_matrix_has_a_row_for_every_rpc_and_kind() {
    let rows = crate::permissions();
    let of_ours = |name: &str| crate::GRPC_SERVICES.contains(&name);
    let pool = parta_proto_all::descriptor_pool().unwrap();
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
