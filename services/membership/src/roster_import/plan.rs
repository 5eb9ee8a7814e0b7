//! The difference between what a set wants and what is there.
use std::collections::{BTreeMap, BTreeSet};

use parta_ids::MemberId;
use parta_proto::parta::membership::v1::{RosterChangeKind as Kind, RosterImportCounts};
use parta_roster::{Role, label_key};
use parta_storage::StorageError;

use super::set::Set;
use crate::assignments::AssignmentKind;

/// Somebody whom an earlier import brought, as they are now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) full_name: String,
    /// Never removed by an import.
    pub(crate) administrator: bool,
    /// Whether classes and tasks are for such people. An import changes no roles of who is there: people do.
    pub(crate) pupil: bool,
    pub(crate) teacher: bool,
    /// Keys of the labels of the classes that the person is a pupil of.
    pub(crate) classes: BTreeSet<String>,
    /// Keys of labels, and kinds, of the tasks.
    pub(crate) tasks: BTreeSet<(String, i32)>,
    pub(crate) children: BTreeSet<MemberId>,
}

/// What is there.
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Change {
    pub(crate) kind: i16,
    /// The source's id of the person, or of the class that is made.
    pub(crate) source_key: String,
    /// The source's id of the child.
    pub(crate) other_key: String,
    pub(crate) person: String,
    pub(crate) unit_label: String,
    pub(crate) before: String,
    pub(crate) after: String,
    /// The role of a new member, or the kind of a task.
    pub(crate) value: i32,
}

/// The number of a kind as it is kept.
pub(crate) fn number(kind: Kind) -> i16 {
    i16::try_from(i32::from(kind)).unwrap_or_default()
}

struct Planner<'a> {
    set: &'a Set,
    there: &'a There,
    changes: Vec<Change>,
}

impl Planner<'_> {
    fn add(&mut self, kind: Kind, source_key: &str, more: Change) {
        self.changes.push(Change {
            kind: number(kind),
            source_key: source_key.to_owned(),
            ..more
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

    /// Whether somebody is there in the end.
    fn stays(&self, key: &str) -> bool {
        self.set.people.contains_key(key)
            || (self.there.people.contains_key(key)
                && !self.set.all_people
                && !self.set.leaving.contains(key))
    }
}

fn at(person: String, label: &str) -> Change {
    Change {
        person,
        unit_label: label.to_owned(),
        ..Change::default()
    }
}

/// What has to be done, in the order in which it can be done.
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
                    p.add(Kind::CreateMember, key, Change { value, ..new });
                }
            }
            Some(before) if before != wanted.full_name => {
                let after = wanted.full_name.clone();
                let person = before.clone();
                p.add(
                    Kind::RenameMember,
                    key,
                    Change {
                        person,
                        before,
                        after,
                        ..Change::default()
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
            p.add(Kind::BeginAssignment, key, Change { value: *kind, ..new });
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
            p.add(Kind::EstablishGuardianship, guardian, Change { other_key, ..new });
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

/// Who comes into which class and who leaves which; a place is left before another one is taken.
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

/// Counts one change.
pub(crate) fn count(counts: &mut RosterImportCounts, kind: Kind) {
    match kind {
        Kind::CreateUnit => counts.units += 1,
        Kind::CreateMember => {
            counts.members += 1;
            counts.invitations += 1;
        }
        Kind::RenameMember => counts.renames += 1,
        Kind::BeginEnrollment => counts.enrollments_begun += 1,
        Kind::EndEnrollment => counts.enrollments_ended += 1,
        Kind::BeginAssignment => counts.assignments_begun += 1,
        Kind::EstablishGuardianship => counts.guardianships += 1,
        Kind::RemoveMember => counts.removals += 1,
        Kind::Unspecified => {}
    }
}

/// Counts a whole plan.
pub(crate) fn counts(changes: &[Change]) -> RosterImportCounts {
    let mut counts = RosterImportCounts::default();
    for change in changes {
        count(
            &mut counts,
            Kind::try_from(i32::from(change.kind)).unwrap_or_default(),
        );
    }
    counts
}

/// Whether so many leave that somebody has to say that it is meant.
pub(crate) fn is_mass_removal(counts: &RosterImportCounts, known: usize) -> bool {
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
