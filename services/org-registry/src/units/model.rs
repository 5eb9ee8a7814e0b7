use chrono::{DateTime, Utc};
use parta_ids::{OrgId, RosterImportId, UnitId};

/// The label of the unit that is created with each organization.
pub(super) const STAFF_ROOM_LABEL: &str = "Учительская";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitKind {
    /// The unit of the whole staff.
    StaffRoom,
    Class,
    /// A group that crosses classes, or a group of students.
    Group,
    Department,
}

impl UnitKind {
    const ALL: [Self; 4] = [Self::StaffRoom, Self::Class, Self::Group, Self::Department];

    /// Returns the number in the database and in the API.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::StaffRoom => 1,
            Self::Class => 2,
            Self::Group => 3,
            Self::Department => 4,
        }
    }

    /// Decodes a number of the database or of the API; `None` if this release does not know it.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) org_id: OrgId,
    pub(crate) id: UnitId,
    pub(crate) kind: UnitKind,
    pub(crate) label: String,
    pub(crate) create_time: DateTime<Utc>,
    /// When it was archived; `None` if it is not.
    pub(crate) archive_time: Option<DateTime<Utc>>,
    /// Increases with each change.
    pub(crate) revision: i64,
}

/// The row of a roster import that requested a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImportSource {
    pub(crate) roster_import_id: RosterImportId,
    /// The id of the class in the source.
    pub(crate) key: String,
}
