//! The guard against mass changes: a wrong file must not change the roster of a school without a question.
use std::collections::{BTreeMap, BTreeSet};

use parta_roster::{Role, label_key};

use super::{
    model::{ChangeKind as Kind, MassChange, Outcome},
    plan::{Change, CurrentMember, CurrentRoster},
};

/// A change of one kind that concerns fewer people is made without a question.
const FEWEST_PEOPLE: usize = 3;
/// A change that concerns at most one of so many people is made without a question.
const LARGEST_SHARE: usize = 10;

/// Whether a change of one kind that concerns `people` of `of` people needs a confirmation.
pub(crate) fn is_mass(people: usize, of: usize) -> bool {
    people >= FEWEST_PEOPLE && people.saturating_mul(LARGEST_SHARE) > of
}

/// Returns the kinds of change that concern many of the people who are in the roster now, in the order of
/// their numbers. New people do not count, nor does a change that is made already.
pub(crate) fn mass_changes(changes: &[Change], current: &CurrentRoster) -> Vec<MassChange> {
    let mut concerned = BTreeMap::<i16, BTreeSet<&str>>::new();
    for change in changes {
        let member = current.people.get(&change.source_key).map(|(_, member)| member);
        let readmits = change.kind == Kind::ReadmitMember && current.dropped.contains_key(&change.source_key);
        let is_open = readmits || member.is_some_and(|member| is_open(change, member, current));
        if change.outcome == Outcome::Planned && is_open {
            let of_kind = concerned.entry(change.kind.number()).or_default();
            of_kind.insert(&change.source_key);
        }
    }
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let mass = concerned.into_iter().filter_map(|(kind, people)| {
        let of = could_concern(kind, current);
        is_mass(people.len(), of).then(|| MassChange {
            kind,
            people: count(people.len()),
            of: count(of),
        })
    });
    mass.collect()
}

/// Whether a change about a member is not made yet.
fn is_open(change: &Change, member: &CurrentMember, current: &CurrentRoster) -> bool {
    let details = &change.details;
    let class = label_key(&details.unit_label);
    match change.kind {
        Kind::RenameMember => member.full_name != details.after,
        Kind::BeginEnrollment => !member.classes.contains(&class),
        Kind::EndEnrollment => member.classes.contains(&class),
        Kind::BeginAssignment => !member.assignments.contains(&(class, details.value)),
        Kind::EstablishGuardianship => {
            let child = current.people.get(&details.other_key);
            child.is_some_and(|(id, _)| !member.children.contains(id))
        }
        Kind::RemoveMember => true,
        Kind::CreateUnit | Kind::CreateMember | Kind::ReadmitMember | Kind::ChangeRole => false,
    }
}

/// Counts the people whom a change of this kind could concern: those who hold the role that it is about, and
/// for readmissions all whom the source had dropped.
fn could_concern(kind: i16, current: &CurrentRoster) -> usize {
    let role = match Kind::from_number(kind.into()) {
        Some(Kind::BeginEnrollment | Kind::EndEnrollment) => Some(Role::Pupil),
        Some(Kind::BeginAssignment) => Some(Role::Teacher),
        Some(Kind::EstablishGuardianship) => Some(Role::Parent),
        Some(Kind::ReadmitMember) => return current.dropped.len(),
        _ => None,
    };
    let members = current.people.values();
    let holds = |member: &CurrentMember| role.is_none_or(|role| member.roles.contains(&role));
    members.filter(|(_, member)| holds(member)).count()
}
