use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parta_ids::RosterImportId;
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
}

impl ImportState {
    /// Returns the number in the database and in the API.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Checked => 1,
            Self::Refused => 2,
            Self::Running => 3,
            Self::Done => 4,
        }
    }

    /// Decodes a number of the database; `None` if this release does not know it.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        [Self::Checked, Self::Refused, Self::Running, Self::Done]
            .into_iter()
            .find(|state| state.number() == number)
    }

    /// Whether the state can no longer change.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Refused | Self::Done)
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
}

impl ChangeKind {
    const ALL: [Self; 8] = [
        Self::CreateUnit,
        Self::CreateMember,
        Self::RenameMember,
        Self::BeginEnrollment,
        Self::EndEnrollment,
        Self::BeginAssignment,
        Self::EstablishGuardianship,
        Self::RemoveMember,
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
        }
    }
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
    pub(crate) mass_removal: bool,
    /// Labels of the classes, by their ids in the source.
    pub(crate) classes: BTreeMap<String, String>,
    /// The number of planned changes that are applied.
    pub(crate) position: i64,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) start_time: Option<DateTime<Utc>>,
    pub(crate) finish_time: Option<DateTime<Utc>>,
    /// Increased by every change except that of `done` and `position`. The etag of the API.
    pub(crate) revision: i64,
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
                    \"assignments_begun\":0,\"guardianships\":0,\"removals\":0,\"invitations\":9}";
        assert_eq!(serde_json::to_string(&counts).unwrap(), form);
    }

    #[test]
    fn stored_numbers_survive_decoding() {
        for kind in ChangeKind::ALL {
            assert_eq!(ChangeKind::from_number(kind.number().into()), Some(kind));
        }
        assert_eq!(ChangeKind::from_number(0), None);
        assert_eq!(ImportState::from_number(4), Some(ImportState::Done));
        assert_eq!(ImportState::from_number(0), None);
    }
}
