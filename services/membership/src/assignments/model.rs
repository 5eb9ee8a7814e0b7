use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use parta_ids::{AssignmentId, MemberId, OrgId, UnitId};

/// The kind of a teacher's work in a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AssignmentKind {
    /// Class teacher («классный руководитель»).
    ClassTeacher,
    SubjectTeacher,
}

impl AssignmentKind {
    /// The number in the database, which is that of the API.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::ClassTeacher => 1,
            Self::SubjectTeacher => 2,
        }
    }

    /// Reads the number of the database or of the API; `None` for one that this build does not know.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        [Self::ClassTeacher, Self::SubjectTeacher]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

/// The end that an assignment has by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnEnd {
    pub(crate) time: DateTime<Utc>,
    /// The last day in the time zone of the organization; `None` if it ends at a time.
    pub(crate) until: Option<NaiveDate>,
}

/// A teacher's work in a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) org_id: OrgId,
    pub(crate) id: AssignmentId,
    pub(crate) member_id: MemberId,
    pub(crate) unit_id: UnitId,
    pub(crate) kind: AssignmentKind,
    pub(crate) create_time: DateTime<Utc>,
    /// The end that it has by itself; `None` if it lasts until it is ended.
    pub(crate) own_end: Option<OwnEnd>,
    /// When it was ended; `None` while it lasts.
    pub(crate) end_time: Option<DateTime<Utc>>,
}

/// A task that ends within this time of its beginning is a substitution.
const SUBSTITUTION: TimeDelta = TimeDelta::days(14);

impl Assignment {
    /// Whether it is a substitution (F3): it teaches, writes in the chats of the unit and hosts its
    /// calls, but does not invite, decide relations or open personal chats.
    pub(crate) fn is_substitution(&self) -> bool {
        self.own_end
            .is_some_and(|end| end.time - self.create_time <= SUBSTITUTION)
    }
}
