use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_ids::{MemberId, RosterImportId, UnitId};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImportState {
    /// The files were checked; nothing was changed yet.
    Checked,
    /// The files were refused. The import can never be started.
    Refused,
    /// The import was started and its changes are being applied.
    Running,
    /// All changes are applied.
    Done,
    /// The one who started it may no longer import. The changes that were not applied stay undone.
    Stopped,
}

impl ImportState {
    /// Returns the number in the database and in the API.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Checked => 1,
            Self::Refused => 2,
            Self::Running => 3,
            Self::Done => 4,
            Self::Stopped => 5,
        }
    }

    /// Decodes a number of the database; `None` if this release does not know it.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        let all = [
            Self::Checked,
            Self::Refused,
            Self::Running,
            Self::Done,
            Self::Stopped,
        ];
        all.into_iter().find(|state| state.number() == number)
    }

    /// Whether the state can no longer change.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Refused | Self::Done | Self::Stopped)
    }
}

/// The kind of a planned change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    CreateUnit,
    CreateMember,
    RenameMember,
    BeginEnrollment,
    EndEnrollment,
    BeginAssignment,
    EstablishGuardianship,
    RemoveMember,
    /// Readmits a person whom the source had dropped.
    ReadmitMember,
    /// The source gives a member another role. An import changes no roles, so it is only reported.
    ChangeRole,
}

impl ChangeKind {
    const ALL: [Self; 10] = [
        Self::CreateUnit,
        Self::CreateMember,
        Self::RenameMember,
        Self::BeginEnrollment,
        Self::EndEnrollment,
        Self::BeginAssignment,
        Self::EstablishGuardianship,
        Self::RemoveMember,
        Self::ReadmitMember,
        Self::ChangeRole,
    ];

    /// Returns the number in the database and in the API.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::CreateUnit => 1,
            Self::CreateMember => 2,
            Self::RenameMember => 3,
            Self::BeginEnrollment => 4,
            Self::EndEnrollment => 5,
            Self::BeginAssignment => 6,
            Self::EstablishGuardianship => 7,
            Self::RemoveMember => 8,
            Self::ReadmitMember => 9,
            Self::ChangeRole => 10,
        }
    }

    /// Decodes a number of the database or of the API; `None` if this release does not know it.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| i32::from(kind.number()) == number)
    }

    /// Whether the change can be applied only after its class was created.
    pub(crate) fn needs_unit(self) -> bool {
        matches!(
            self,
            Self::BeginEnrollment | Self::EndEnrollment | Self::BeginAssignment
        )
    }
}

/// Numbers of changes by kind. Stored as JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) units: i32,
    pub(crate) members: i32,
    pub(crate) renames: i32,
    pub(crate) enrollments_begun: i32,
    pub(crate) enrollments_ended: i32,
    pub(crate) assignments_begun: i32,
    pub(crate) guardianships: i32,
    pub(crate) removals: i32,
    /// Single-use invitations for new members.
    pub(crate) invitations: i32,
    /// People who are members again.
    #[serde(default)]
    pub(crate) readmissions: i32,
}

impl Counts {
    pub(crate) fn add(&mut self, kind: ChangeKind) {
        match kind {
            ChangeKind::CreateUnit => self.units += 1,
            ChangeKind::CreateMember => {
                self.members += 1;
                self.invitations += 1;
            }
            ChangeKind::RenameMember => self.renames += 1,
            ChangeKind::BeginEnrollment => self.enrollments_begun += 1,
            ChangeKind::EndEnrollment => self.enrollments_ended += 1,
            ChangeKind::BeginAssignment => self.assignments_begun += 1,
            ChangeKind::EstablishGuardianship => self.guardianships += 1,
            ChangeKind::RemoveMember => self.removals += 1,
            ChangeKind::ReadmitMember => self.readmissions += 1,
            ChangeKind::ChangeRole => {}
        }
    }
}

/// The outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not applied yet.
    Planned,
    Done,
    /// The change is not made, for this reason.
    NoEffect(NoEffect),
    /// A second person has to decide (F6).
    Waiting,
    /// A second person decided against it.
    Dropped,
}

impl Outcome {
    /// The number in the database, which is that of the API.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::Planned => 1,
            Self::Done => 2,
            Self::NoEffect(_) => 3,
            Self::Waiting => 4,
            Self::Dropped => 5,
        }
    }

    /// The reason why the change has no effect.
    pub(crate) fn no_effect(self) -> Option<NoEffect> {
        match self {
            Self::NoEffect(reason) => Some(reason),
            _ => None,
        }
    }

    /// Reads the numbers of the database; `None` for those that this build does not know.
    pub(crate) fn from_numbers(outcome: i16, no_effect: i16) -> Option<Self> {
        Some(match (outcome, no_effect) {
            (1, 0) => Self::Planned,
            (2, 0) => Self::Done,
            (3, reason) => Self::NoEffect(NoEffect::from_number(reason)?),
            (4, 0) => Self::Waiting,
            (5, 0) => Self::Dropped,
            _ => return None,
        })
    }
}

/// The reason why a change has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NoEffect {
    /// A decision removed the person.
    RemovedByDecision,
    /// The person, or the child, is no member now.
    NotAMember,
    /// A decision took the role away.
    RoleRevoked,
    /// The person does not hold the role that the change needs. An import gives no further role.
    RoleNotHeld,
    /// A decision, an order or the 18th birthday ended the relation.
    RelationEnded,
    /// A limit is in force between the guardian and the child.
    RelationLimited,
    /// A decision ended the assignment.
    AssignmentEnded,
    /// A decision moved the pupil out of the class.
    ClassDecided,
    /// The class was archived or renamed after the check.
    ClassGone,
    /// An import removes no administrator.
    AdministratorStays,
    /// The change was made otherwise before.
    AlreadySo,
}

impl NoEffect {
    const ALL: [Self; 11] = [
        Self::RemovedByDecision,
        Self::NotAMember,
        Self::RoleRevoked,
        Self::RoleNotHeld,
        Self::RelationEnded,
        Self::RelationLimited,
        Self::AssignmentEnded,
        Self::ClassDecided,
        Self::ClassGone,
        Self::AdministratorStays,
        Self::AlreadySo,
    ];

    /// The number in the database, which is that of the API. 0 is stored for a change that has an effect.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::RemovedByDecision => 1,
            Self::NotAMember => 2,
            Self::RoleRevoked => 3,
            Self::RoleNotHeld => 4,
            Self::RelationEnded => 5,
            Self::RelationLimited => 6,
            Self::AssignmentEnded => 7,
            Self::ClassDecided => 8,
            Self::ClassGone => 9,
            Self::AdministratorStays => 10,
            Self::AlreadySo => 11,
        }
    }

    fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }
}

/// A change of one kind that concerns many of the people who are in the roster. Stored as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MassChange {
    /// The number of the kind.
    pub(crate) kind: i16,
    /// The number of people whom it concerns.
    pub(crate) people: i32,
    /// The number of people whom it could concern.
    pub(crate) of: i32,
}

/// The position of a row of the source. Line 0 is the whole file; an empty name, all files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SourceLine {
    pub(crate) file: &'static str,
    pub(crate) line: u32,
}

/// An import of a set of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) id: RosterImportId,
    pub(crate) state: ImportState,
    pub(crate) one_roster_version: String,
    pub(crate) planned: Counts,
    pub(crate) done: Counts,
    pub(crate) change_count: i64,
    pub(crate) problem_count: i32,
    /// The changes that have no effect.
    pub(crate) no_effect_count: i32,
    /// The changes that wait for a second person.
    pub(crate) waiting_count: i32,
    /// The mass changes that the check has found.
    pub(crate) mass_changes: Vec<MassChange>,
    /// Labels of the classes, by their ids in the source.
    pub(crate) classes: BTreeMap<String, String>,
    /// Archived classes that had the label of a class to create when the import was started. The import waits
    /// for another one.
    pub(crate) archived_units: BTreeSet<UnitId>,
    /// The member who started the import, and who decides nothing about himself by it.
    pub(crate) starter_id: Option<MemberId>,
    /// The number of planned changes that are applied.
    pub(crate) position: i64,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) start_time: Option<DateTime<Utc>>,
    pub(crate) finish_time: Option<DateTime<Utc>>,
    /// Increased by every change except that of the progress. The etag of the API.
    pub(crate) revision: i64,
}

impl Import {
    /// Ends an import whose starter may no longer import. The next one finds what is left.
    pub(super) fn stop(&mut self, now: DateTime<Utc>) {
        self.state = ImportState::Stopped;
        self.finish_time = Some(now);
        self.revision += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_counts_match_the_golden_form() {
        let counts = Counts {
            units: 1,
            invitations: 9,
            ..Counts::default()
        };
        let form = "{\"units\":1,\"members\":0,\"renames\":0,\"enrollments_begun\":0,\"enrollments_ended\":0,\
                    \"assignments_begun\":0,\"guardianships\":0,\"removals\":0,\"invitations\":9,\
                    \"readmissions\":0}";
        assert_eq!(serde_json::to_string(&counts).unwrap(), form);
    }

    #[test]
    fn stored_numbers_survive_decoding() {
        for kind in ChangeKind::ALL {
            assert_eq!(ChangeKind::from_number(kind.number().into()), Some(kind));
        }
        assert_eq!(ChangeKind::from_number(0), None);
        for reason in NoEffect::ALL {
            let outcome = Outcome::NoEffect(reason);
            assert_eq!(
                Outcome::from_numbers(outcome.number(), reason.number()),
                Some(outcome)
            );
        }
        for outcome in [
            Outcome::Planned,
            Outcome::Done,
            Outcome::Waiting,
            Outcome::Dropped,
        ] {
            assert_eq!(Outcome::from_numbers(outcome.number(), 0), Some(outcome));
        }
        assert_eq!(Outcome::from_numbers(3, 0), None);
        assert_eq!(ImportState::from_number(4), Some(ImportState::Done));
        assert_eq!(ImportState::from_number(0), None);
    }
}
