//! Computes the changes that make the roster equal to a set of files.
use std::collections::{BTreeMap, BTreeSet};

use parta_database::StorageError;
use parta_ids::MemberId;
use parta_roster::{Role, label_key};

use super::{
    model::{ChangeKind as Kind, Counts},
    set::SourceRoster,
};
use crate::assignments::AssignmentKind;

/// A member created by an earlier import, in the current state.
#[derive(Debug, Clone, Default)]
pub(crate) struct CurrentMember {
    pub(crate) full_name: String,
    /// Never removed by an import.
    pub(crate) administrator: bool,
    /// Whether the member can be enrolled. An import changes no roles of a member.
    pub(crate) pupil: bool,
    pub(crate) teacher: bool,
    /// Keys of the labels of the classes in which the member is enrolled.
    pub(crate) classes: BTreeSet<String>,
    /// Assignments: the key of the label of the class, and the kind.
    pub(crate) assignments: BTreeSet<(String, i32)>,
    pub(crate) children: BTreeSet<MemberId>,
}

/// The current roster, as far as imports are concerned.
#[derive(Debug, Default)]
pub(crate) struct CurrentRoster {
    /// Labels of the classes, by their keys ([`label_key`]).
    pub(crate) labels: BTreeMap<String, String>,
    /// The members who have not left, by their ids in the source.
    pub(crate) people: BTreeMap<String, (MemberId, CurrentMember)>,
    /// Labels of the classes of earlier imports, by their ids in the source.
    pub(crate) classes: BTreeMap<String, String>,
}

/// A planned change, with everything that is needed to apply it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    /// The id in the source of the person, or of the class to create.
    pub(crate) source_key: String,
    pub(crate) details: Details,
}

/// The details of a change. Fields that its kind does not need are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Details {
    /// The id in the source of the child.
    pub(crate) other_key: String,
    pub(crate) person: String,
    pub(crate) unit_label: String,
    pub(crate) before: String,
    pub(crate) after: String,
    /// The role of a new member, or the kind of an assignment.
    pub(crate) value: i32,
}

struct Planner<'a> {
    set: &'a SourceRoster,
    current: &'a CurrentRoster,
    changes: Vec<Change>,
}

impl Planner<'_> {
    fn add(&mut self, kind: Kind, source_key: &str, details: Details) {
        self.changes.push(Change {
            kind,
            source_key: source_key.to_owned(),
            details,
        });
    }

    /// Returns the label of a class by its id in the source.
    fn class_label(&self, class: &str) -> Option<&String> {
        self.set
            .classes
            .get(class)
            .or_else(|| self.current.classes.get(class))
    }

    fn name(&self, key: &str) -> String {
        let in_source = self.set.people.get(key).map(|person| &person.full_name);
        let in_roster = || self.current.people.get(key).map(|(_, member)| &member.full_name);
        in_source.or_else(in_roster).cloned().unwrap_or_default()
    }

    fn current_member(&self, key: &str) -> Option<&CurrentMember> {
        self.current.people.get(key).map(|(_, member)| member)
    }

    /// Whether the person is a member after the import.
    fn stays(&self, key: &str) -> bool {
        self.set.people.contains_key(key)
            || (self.current.people.contains_key(key)
                && !self.set.people_are_complete
                && !self.set.leaving.contains(key))
    }
}

fn details(person: String, label: &str) -> Details {
    Details {
        person,
        unit_label: label.to_owned(),
        ..Details::default()
    }
}

/// Returns the changes that make the roster equal to the set, in an order in which they can be applied.
pub(crate) fn plan(set: &SourceRoster, current: &CurrentRoster) -> Vec<Change> {
    let mut p = Planner {
        set,
        current,
        changes: Vec::new(),
    };
    for (key, label) in &set.classes {
        if !current.labels.contains_key(&label_key(label)) {
            p.add(Kind::CreateUnit, key, details(String::new(), label));
        }
    }
    for (key, person) in &set.people {
        match p.current_member(key).map(|member| member.full_name.clone()) {
            None => {
                if let Some(role) = person.role {
                    let value = role.bit();
                    let new = details(person.full_name.clone(), "");
                    p.add(Kind::CreateMember, key, Details { value, ..new });
                }
            }
            Some(before) if before != person.full_name => {
                let after = person.full_name.clone();
                let person = before.clone();
                p.add(
                    Kind::RenameMember,
                    key,
                    Details {
                        person,
                        before,
                        after,
                        ..Details::default()
                    },
                );
            }
            Some(_) => {}
        }
    }
    plan_enrollments(&mut p);
    for (key, class, kind) in &set.assignments {
        let Some(label) = p.class_label(class).cloned().filter(|_| p.stays(key)) else {
            continue;
        };
        let is_new_teacher = || {
            set.people
                .get(key)
                .is_some_and(|person| person.role == Some(Role::Teacher))
        };
        let member = p.current_member(key);
        let is_teacher = member.map_or_else(is_new_teacher, |member| member.teacher);
        let is_assigned =
            member.is_some_and(|member| member.assignments.contains(&(label_key(&label), *kind)));
        if is_teacher && !is_assigned {
            let new = details(p.name(key), &label);
            p.add(Kind::BeginAssignment, key, Details { value: *kind, ..new });
        }
    }
    for (guardian, child) in &set.guardianships {
        let id = current.people.get(child).map(|(id, _)| *id);
        let is_related = id.is_some_and(|id| {
            p.current_member(guardian)
                .is_some_and(|member| member.children.contains(&id))
        });
        if !is_related {
            let new = details(p.name(guardian), "");
            let other_key = child.clone();
            p.add(
                Kind::EstablishGuardianship,
                guardian,
                Details { other_key, ..new },
            );
        }
    }
    let removed: Vec<_> = current
        .people
        .iter()
        .filter(|(key, (_, member))| !p.stays(key) && !member.administrator)
        .map(|(key, (_, member))| (key.clone(), member.full_name.clone()))
        .collect();
    for (key, name) in removed {
        p.add(Kind::RemoveMember, &key, details(name, ""));
    }
    p.changes
}

/// Labels of classes, by their keys ([`label_key`]).
type Labels = BTreeMap<String, String>;

/// Plans the enrollments that end, then those that begin, so that a pupil leaves a class before joining
/// another.
fn plan_enrollments(p: &mut Planner<'_>) {
    let labels_by_person = |p: &Planner<'_>, pairs: &BTreeSet<(String, String)>| {
        let mut labels = BTreeMap::<String, Labels>::new();
        for (key, class) in pairs {
            if let Some(label) = p.class_label(class).filter(|_| p.stays(key)) {
                labels
                    .entry(key.clone())
                    .or_default()
                    .insert(label_key(label), label.clone());
            }
        }
        labels
    };
    let in_source = labels_by_person(p, &p.set.enrollments);
    let ended_in_source = labels_by_person(p, &p.set.ended_enrollments);
    let none = Labels::new();
    let current = p.current;
    for (key, (_, member)) in current
        .people
        .iter()
        .filter(|(key, _)| p.stays(key))
        .collect::<Vec<_>>()
    {
        for class in &member.classes {
            let stays = in_source.get(key).unwrap_or(&none).contains_key(class);
            let ends = p.set.enrollments_are_complete
                || ended_in_source.get(key).unwrap_or(&none).contains_key(class);
            if let Some(label) = current.labels.get(class).filter(|_| ends && !stays) {
                let change = details(p.name(key), label);
                p.add(Kind::EndEnrollment, key, change);
            }
        }
    }
    for (key, labels) in in_source {
        let person = p.set.people.get(&key);
        let is_new_pupil = || person.is_some_and(|person| person.role == Some(Role::Pupil));
        if !p
            .current_member(&key)
            .map_or_else(is_new_pupil, |member| member.pupil)
        {
            continue;
        }
        for (class, label) in labels {
            if !p
                .current_member(&key)
                .is_some_and(|member| member.classes.contains(&class))
            {
                let change = details(p.name(&key), &label);
                p.add(Kind::BeginEnrollment, &key, change);
            }
        }
    }
}

pub(crate) fn counts(changes: &[Change]) -> Counts {
    let mut counts = Counts::default();
    changes.iter().for_each(|change| counts.add(change.kind));
    counts
}

/// Whether more than ten members, and more than a tenth of the members created by imports, would be removed.
pub(crate) fn is_mass_removal(counts: &Counts, current_count: usize) -> bool {
    // A number that no release stores is read as the largest, so that the import asks for a confirmation.
    let removals = usize::try_from(counts.removals).unwrap_or(usize::MAX);
    removals > 10 && removals.saturating_mul(10) > current_count
}

/// Decodes the kind of an assignment in a stored change.
pub(crate) fn assignment_kind(number: i32) -> Result<AssignmentKind, StorageError> {
    AssignmentKind::from_number(number)
        .ok_or_else(|| StorageError::unknown_value("roster_change.value", number))
}

/// Decodes the role in a stored change, which has exactly one bit.
pub(crate) fn role(mask: i32) -> Result<Role, StorageError> {
    let roles = Role::set_of(mask);
    match (roles.len(), roles.first()) {
        (1, Some(role)) if role.bit() == mask => Ok(*role),
        _ => Err(StorageError::unknown_value("roster_change.value", mask)),
    }
}
