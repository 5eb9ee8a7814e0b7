//! Computes the changes that make the roster equal to a set of files.
use std::collections::{BTreeMap, BTreeSet};

use parta_database::StorageError;
use parta_ids::MemberId;
use parta_roster::{Role, label_key};

use super::{
    model::{ChangeKind as Kind, Counts, NoEffect, Outcome, SourceLine},
    set::SourceRoster,
};
use crate::assignments::AssignmentKind;

/// A member created by an earlier import, in the current state.
#[derive(Debug, Clone, Default)]
pub(crate) struct CurrentMember {
    pub(crate) full_name: String,
    /// An import changes no roles, and removes no administrator.
    pub(crate) roles: BTreeSet<Role>,
    /// Roles that a decision took away.
    pub(crate) revoked: BTreeSet<Role>,
    /// Keys of the labels of the classes in which the member is enrolled.
    pub(crate) classes: BTreeSet<String>,
    /// Assignments: the key of the label of the class, and the kind.
    pub(crate) assignments: BTreeSet<(String, i32)>,
    pub(crate) children: BTreeSet<MemberId>,
}

/// A person whom the source had dropped.
#[derive(Debug, Clone)]
pub(crate) struct DroppedMember {
    pub(crate) id: MemberId,
    /// Roles that a decision had taken away before.
    pub(crate) revoked: BTreeSet<Role>,
}

/// The current roster, as far as imports are concerned.
#[derive(Debug, Default)]
pub(crate) struct CurrentRoster {
    /// Labels of the classes, by their keys ([`label_key`]).
    pub(crate) labels: BTreeMap<String, String>,
    /// The members who have not left, by their ids in the source.
    pub(crate) people: BTreeMap<String, (MemberId, CurrentMember)>,
    /// The people whom an import removed because the source dropped them, by their ids in the source.
    pub(crate) dropped: BTreeMap<String, DroppedMember>,
    /// The ids in the source of people whom a decision removed.
    pub(crate) removed: BTreeSet<String>,
    /// Labels of the classes of earlier imports, by their ids in the source.
    pub(crate) classes: BTreeMap<String, String>,
    /// Further ids in the source of members whose records were joined, and the one under which `people`,
    /// `dropped` or `removed` has the member.
    pub(crate) aliases: BTreeMap<String, String>,
}

impl CurrentRoster {
    /// Returns the record of a person, also of one whom the source had dropped.
    pub(crate) fn member_id(&self, key: &str) -> Option<MemberId> {
        let present = self.people.get(key).map(|(id, _)| *id);
        present.or_else(|| self.dropped.get(key).map(|member| member.id))
    }
}

/// A change, with everything that is needed to apply it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    /// The id in the source of the person, or of the class to create.
    pub(crate) source_key: String,
    pub(crate) details: Details,
    /// The row of the source that requires the change.
    pub(crate) source_line: SourceLine,
    pub(crate) outcome: Outcome,
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

/// A person of the source after the import.
enum Person<'a> {
    Member(&'a CurrentMember),
    /// Becomes a member with this role by the import.
    Newcomer(Role),
    /// Is no member, for this reason.
    Absent(NoEffect),
}

impl Person<'_> {
    /// Returns why the person does not have a role; `None` if the person has it.
    fn lacks(&self, role: Role) -> Option<NoEffect> {
        match self {
            Self::Member(member) if member.roles.contains(&role) => None,
            Self::Member(member) if member.revoked.contains(&role) => Some(NoEffect::RoleRevoked),
            Self::Newcomer(own) if *own == role => None,
            Self::Member(_) | Self::Newcomer(_) => Some(NoEffect::RoleNotHeld),
            Self::Absent(reason) => Some(*reason),
        }
    }
}

struct Planner<'a> {
    set: &'a SourceRoster,
    current: &'a CurrentRoster,
    /// Keys of the labels of the classes that exist after the import.
    labels: BTreeSet<String>,
    changes: Vec<Change>,
}

impl<'a> Planner<'a> {
    /// Adds a change that is made, or that has no effect for this reason.
    fn add(
        &mut self,
        kind: Kind,
        key: &str,
        source_line: SourceLine,
        reason: Option<NoEffect>,
        details: Details,
    ) {
        self.changes.push(Change {
            kind,
            source_key: key.to_owned(),
            details,
            source_line,
            outcome: reason.map_or(Outcome::Planned, Outcome::NoEffect),
        });
    }

    /// Returns the label of a class by its id in the source.
    fn class_label(&self, class: &str) -> Option<&'a String> {
        let (set, current) = (self.set, self.current);
        set.classes.get(class).or_else(|| current.classes.get(class))
    }

    fn name(&self, key: &str) -> String {
        let in_source = self.set.people.get(key).map(|person| &person.full_name);
        let in_roster = || self.current.people.get(key).map(|(_, member)| &member.full_name);
        in_source.or_else(in_roster).cloned().unwrap_or_default()
    }

    fn current_member(&self, key: &str) -> Option<&'a CurrentMember> {
        self.current.people.get(key).map(|(_, member)| member)
    }

    /// Whether the source no longer lists a member.
    fn is_dropped(&self, key: &str) -> bool {
        let listed = self.set.people.contains_key(key);
        !listed && (self.set.people_are_complete || self.set.leaving.contains_key(key))
    }

    fn person(&self, key: &str) -> Person<'a> {
        if let Some(member) = self.current_member(key) {
            let stays = !self.is_dropped(key) || member.roles.contains(&Role::Administrator);
            return if stays {
                Person::Member(member)
            } else {
                Person::Absent(NoEffect::NotAMember)
            };
        }
        if self.current.removed.contains(key) {
            return Person::Absent(NoEffect::RemovedByDecision);
        }
        let Some(role) = self.set.people.get(key).and_then(|person| person.role) else {
            return Person::Absent(NoEffect::NotAMember);
        };
        match self.current.dropped.get(key) {
            Some(dropped) if dropped.revoked.contains(&role) => Person::Absent(NoEffect::RoleRevoked),
            _ => Person::Newcomer(role),
        }
    }

    /// Returns why there is no class with this label after the import.
    fn lacks_class(&self, label_key: &str) -> Option<NoEffect> {
        (!self.labels.contains(label_key)).then_some(NoEffect::ClassGone)
    }
}

fn details(person: String, label: &str) -> Details {
    Details {
        person,
        unit_label: label.to_owned(),
        ..Details::default()
    }
}

/// Returns the changes that make the roster equal to the set, in an order in which they can be applied, with
/// the rows that have no effect.
pub(crate) fn plan(set: &SourceRoster, current: &CurrentRoster) -> Vec<Change> {
    let set = &set.with_one_id(&current.aliases);
    let created = set.classes.values().map(|label| label_key(label));
    let mut p = Planner {
        set,
        current,
        labels: current.labels.keys().cloned().chain(created).collect(),
        changes: Vec::new(),
    };
    for (key, label) in &set.classes {
        if !current.labels.contains_key(&label_key(label)) {
            let source_line = set.class_lines.get(key).copied().unwrap_or_default();
            p.add(
                Kind::CreateUnit,
                key,
                source_line,
                None,
                details(String::new(), label),
            );
        }
    }
    plan_people(&mut p);
    plan_enrollments(&mut p);
    plan_assignments(&mut p);
    plan_guardianships(&mut p);
    for (key, (_, member)) in &current.people {
        if p.is_dropped(key) {
            let source_line = set.leaving.get(key).copied().unwrap_or_default();
            let is_administrator = member.roles.contains(&Role::Administrator);
            let reason = is_administrator.then_some(NoEffect::AdministratorStays);
            let removed = details(member.full_name.clone(), "");
            p.add(Kind::RemoveMember, key, source_line, reason, removed);
        }
    }
    p.changes
}

fn plan_people(p: &mut Planner<'_>) {
    let set = p.set;
    for (key, source) in &set.people {
        let new = |role: Option<Role>| Details {
            value: role.map_or(0, Role::bit),
            ..details(source.full_name.clone(), "")
        };
        let was_dropped = p.current.dropped.contains_key(key);
        let admission = if was_dropped {
            Kind::ReadmitMember
        } else {
            Kind::CreateMember
        };
        let person = p.person(key);
        match &person {
            Person::Newcomer(role) => p.add(admission, key, source.source_line, None, new(Some(*role))),
            Person::Absent(reason) => p.add(
                admission,
                key,
                source.source_line,
                Some(*reason),
                new(source.role),
            ),
            Person::Member(member) => {
                if member.full_name != source.full_name {
                    let rename = Details {
                        before: member.full_name.clone(),
                        after: source.full_name.clone(),
                        ..details(member.full_name.clone(), "")
                    };
                    p.add(Kind::RenameMember, key, source.source_line, None, rename);
                }
                // An import changes no roles.
                if let Some(reason) = source.role.and_then(|role| person.lacks(role)) {
                    let role = new(source.role);
                    p.add(Kind::ChangeRole, key, source.source_line, Some(reason), role);
                }
            }
        }
    }
}

/// Labels of classes and the rows that name them, by their keys ([`label_key`]).
type Labels = BTreeMap<String, (String, SourceLine)>;

/// Plans the enrollments that end, then those that begin, so that a pupil leaves a class before joining
/// another.
fn plan_enrollments(p: &mut Planner<'_>) {
    let labels_by_person = |p: &Planner<'_>, pairs: &BTreeMap<(String, String), SourceLine>| {
        let mut labels = BTreeMap::<String, Labels>::new();
        for ((key, class), source_line) in pairs {
            if let Some(label) = p.class_label(class) {
                let row = (label.clone(), *source_line);
                let of_person = labels.entry(key.clone()).or_default();
                of_person.entry(label_key(label)).or_insert(row);
            }
        }
        labels
    };
    let in_source = labels_by_person(p, &p.set.enrollments);
    let ended_in_source = labels_by_person(p, &p.set.ended_enrollments);
    let none = Labels::new();
    let current = p.current;
    for (key, (_, member)) in &current.people {
        if p.is_dropped(key) {
            continue;
        }
        for class in &member.classes {
            let stays = in_source.get(key).unwrap_or(&none).contains_key(class);
            let ended = ended_in_source.get(key).unwrap_or(&none).get(class);
            let ends = p.set.enrollments_are_complete || ended.is_some();
            if let Some(label) = current.labels.get(class).filter(|_| ends && !stays) {
                let source_line = ended.map(|(_, source_line)| *source_line).unwrap_or_default();
                let end = details(p.name(key), label);
                p.add(Kind::EndEnrollment, key, source_line, None, end);
            }
        }
    }
    for (key, labels) in in_source {
        let lacks_role = p.person(&key).lacks(Role::Pupil);
        let member = p.current_member(&key);
        for (class, (label, source_line)) in labels {
            if member.is_some_and(|member| member.classes.contains(&class)) && lacks_role.is_none() {
                continue;
            }
            let reason = lacks_role.or_else(|| p.lacks_class(&class));
            let begin = details(p.name(&key), &label);
            p.add(Kind::BeginEnrollment, &key, source_line, reason, begin);
        }
    }
}

fn plan_assignments(p: &mut Planner<'_>) {
    let set = p.set;
    for ((key, class, kind), source_line) in &set.assignments {
        let Some(label) = p.class_label(class) else {
            continue;
        };
        let lacks_role = p.person(key).lacks(Role::Teacher);
        let assignment = (label_key(label), *kind);
        let is_assigned = |member: &CurrentMember| member.assignments.contains(&assignment);
        if p.current_member(key).is_some_and(is_assigned) && lacks_role.is_none() {
            continue;
        }
        let reason = lacks_role.or_else(|| p.lacks_class(&assignment.0));
        let new = Details {
            value: *kind,
            ..details(p.name(key), label)
        };
        p.add(Kind::BeginAssignment, key, *source_line, reason, new);
    }
}

fn plan_guardianships(p: &mut Planner<'_>) {
    let set = p.set;
    for ((guardian, child), source_line) in &set.guardianships {
        let child_id = p.current.people.get(child).map(|(id, _)| *id);
        let is_guardian = |id| {
            p.current_member(guardian)
                .is_some_and(|m| m.children.contains(&id))
        };
        if child_id.is_some_and(is_guardian) {
            continue;
        }
        let lacks_parent = p.person(guardian).lacks(Role::Parent);
        let reason = lacks_parent.or_else(|| p.person(child).lacks(Role::Pupil));
        let new = Details {
            other_key: child.clone(),
            ..details(p.name(guardian), "")
        };
        p.add(Kind::EstablishGuardianship, guardian, *source_line, reason, new);
    }
}

/// Counts the changes that are to be made.
pub(crate) fn counts(changes: &[Change]) -> Counts {
    let mut counts = Counts::default();
    let planned = changes.iter().filter(|c| c.outcome == Outcome::Planned);
    planned.for_each(|change| counts.add(change.kind));
    counts
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
