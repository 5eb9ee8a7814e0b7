//! The difference between a set of files and the roster.
use std::collections::{BTreeMap, BTreeSet};

use parta_database::StorageError;
use parta_ids::MemberId;
use parta_roster::{Role, label_key};

use super::{
    model::{ChangeKind as Kind, Counts},
    set::Set,
};
use crate::assignments::AssignmentKind;

/// A member whom an earlier import made, as they are now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) full_name: String,
    /// Never removed by an import.
    pub(crate) administrator: bool,
    /// Whether the member can be enrolled. An import changes no roles of a member.
    pub(crate) pupil: bool,
    pub(crate) teacher: bool,
    /// Keys of the labels of the classes that the person is a pupil of.
    pub(crate) classes: BTreeSet<String>,
    /// Keys of labels, and kinds, of the tasks.
    pub(crate) tasks: BTreeSet<(String, i32)>,
    pub(crate) children: BTreeSet<MemberId>,
}

/// The roster as it is.
#[derive(Debug, Default)]
pub(crate) struct There {
    /// Labels of the classes, by their keys ([`label_key`]).
    pub(crate) labels: BTreeMap<String, String>,
    /// By the source's id, those who have not left.
    pub(crate) people: BTreeMap<String, (MemberId, Known)>,
    /// Labels by the source's class id, of earlier imports.
    pub(crate) classes: BTreeMap<String, String>,
}

/// One row of the difference, with what carries it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    /// The source's id of the person, or of the class that is made.
    pub(crate) source_key: String,
    pub(crate) details: Details,
}

/// The details of a change, empty where its kind has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Details {
    /// The source's id of the child.
    pub(crate) other_key: String,
    pub(crate) person: String,
    pub(crate) unit_label: String,
    pub(crate) before: String,
    pub(crate) after: String,
    /// The role of a new member, or the kind of a task.
    pub(crate) value: i32,
}

struct Planner<'a> {
    set: &'a Set,
    there: &'a There,
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

    fn label(&self, class: &str) -> Option<&String> {
        self.set
            .classes
            .get(class)
            .or_else(|| self.there.classes.get(class))
    }

    fn name(&self, key: &str) -> String {
        let wanted = self.set.people.get(key).map(|wanted| &wanted.full_name);
        let known = || self.there.people.get(key).map(|(_, known)| &known.full_name);
        wanted.or_else(known).cloned().unwrap_or_default()
    }

    fn known(&self, key: &str) -> Option<&Known> {
        self.there.people.get(key).map(|(_, known)| known)
    }

    /// Whether the person is a member in the end.
    fn stays(&self, key: &str) -> bool {
        self.set.people.contains_key(key)
            || (self.there.people.contains_key(key)
                && !self.set.all_people
                && !self.set.leaving.contains(key))
    }
}

fn at(person: String, label: &str) -> Details {
    Details {
        person,
        unit_label: label.to_owned(),
        ..Details::default()
    }
}

/// The changes that lead to the set, in the order in which they can be made.
pub(crate) fn plan(set: &Set, there: &There) -> Vec<Change> {
    let mut p = Planner {
        set,
        there,
        changes: Vec::new(),
    };
    for (key, label) in &set.classes {
        if !there.labels.contains_key(&label_key(label)) {
            p.add(Kind::CreateUnit, key, at(String::new(), label));
        }
    }
    for (key, wanted) in &set.people {
        match p.known(key).map(|known| known.full_name.clone()) {
            None => {
                if let Some(role) = wanted.role {
                    let value = role.bit();
                    let new = at(wanted.full_name.clone(), "");
                    p.add(Kind::CreateMember, key, Details { value, ..new });
                }
            }
            Some(before) if before != wanted.full_name => {
                let after = wanted.full_name.clone();
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
    places(&mut p);
    for (key, class, kind) in &set.tasks {
        let Some(label) = p.label(class).cloned().filter(|_| p.stays(key)) else {
            continue;
        };
        let wanted = || {
            set.people
                .get(key)
                .is_some_and(|wanted| wanted.role == Some(Role::Teacher))
        };
        let teacher = p.known(key).map_or_else(wanted, |known| known.teacher);
        let has = p
            .known(key)
            .is_some_and(|known| known.tasks.contains(&(label_key(&label), *kind)));
        if teacher && !has {
            let new = at(p.name(key), &label);
            p.add(Kind::BeginAssignment, key, Details { value: *kind, ..new });
        }
    }
    for (guardian, child) in &set.families {
        let id = there.people.get(child).map(|(id, _)| *id);
        let has = id.is_some_and(|id| {
            p.known(guardian)
                .is_some_and(|known| known.children.contains(&id))
        });
        if !has {
            let new = at(p.name(guardian), "");
            let other_key = child.clone();
            p.add(
                Kind::EstablishGuardianship,
                guardian,
                Details { other_key, ..new },
            );
        }
    }
    let gone: Vec<_> = there
        .people
        .iter()
        .filter(|(key, (_, known))| !p.stays(key) && !known.administrator)
        .map(|(key, (_, known))| (key.clone(), known.full_name.clone()))
        .collect();
    for (key, name) in gone {
        p.add(Kind::RemoveMember, &key, at(name, ""));
    }
    p.changes
}

/// Labels by their keys.
type Labels = BTreeMap<String, String>;

/// Adds enrollments that begin and end; a pupil leaves a class before joining another.
fn places(p: &mut Planner<'_>) {
    let labeled = |p: &Planner<'_>, pairs: &BTreeSet<(String, String)>| {
        let mut by = BTreeMap::<String, Labels>::new();
        for (key, class) in pairs {
            if let Some(label) = p.label(class).filter(|_| p.stays(key)) {
                by.entry(key.clone())
                    .or_default()
                    .insert(label_key(label), label.clone());
            }
        }
        by
    };
    let (wanted, over) = (labeled(p, &p.set.places), labeled(p, &p.set.places_over));
    let none = Labels::new();
    let there = p.there;
    for (key, (_, known)) in there
        .people
        .iter()
        .filter(|(key, _)| p.stays(key))
        .collect::<Vec<_>>()
    {
        for class in &known.classes {
            let kept = wanted.get(key).unwrap_or(&none).contains_key(class);
            let ended = p.set.all_places || over.get(key).unwrap_or(&none).contains_key(class);
            if let Some(label) = there.labels.get(class).filter(|_| ended && !kept) {
                let change = at(p.name(key), label);
                p.add(Kind::EndEnrollment, key, change);
            }
        }
    }
    for (key, labels) in wanted {
        let of_set = p.set.people.get(&key);
        let new = || of_set.is_some_and(|wanted| wanted.role == Some(Role::Pupil));
        if !p.known(&key).map_or_else(new, |known| known.pupil) {
            continue;
        }
        for (class, label) in labels {
            if !p.known(&key).is_some_and(|known| known.classes.contains(&class)) {
                let change = at(p.name(&key), &label);
                p.add(Kind::BeginEnrollment, &key, change);
            }
        }
    }
}

/// Counts a whole plan.
pub(crate) fn counts(changes: &[Change]) -> Counts {
    let mut counts = Counts::default();
    changes.iter().for_each(|change| counts.add(change.kind));
    counts
}

/// Whether more than ten members, and more than a tenth of those known from imports, would be removed.
pub(crate) fn is_mass_removal(counts: &Counts, known: usize) -> bool {
    let removals = usize::try_from(counts.removals).unwrap_or(0);
    removals > 10 && removals * 10 > known
}

/// The kind of an assignment in a stored change.
pub(crate) fn task(number: i32) -> Result<AssignmentKind, StorageError> {
    AssignmentKind::from_number(number)
        .ok_or_else(|| StorageError::unknown_value("roster_change.value", number))
}

/// The role in a stored change, which holds one bit.
pub(crate) fn role(mask: i32) -> Result<Role, StorageError> {
    let roles = Role::set_of(mask);
    match (roles.len(), roles.first()) {
        (1, Some(role)) if role.bit() == mask => Ok(*role),
        _ => Err(StorageError::unknown_value("roster_change.value", mask)),
    }
}
