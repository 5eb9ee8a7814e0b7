//! A planned call.
mod kind;

use chrono::{DateTime, Utc};
use parta_ids::{CallId, MemberId, OrgId, UnitId};

pub(crate) use kind::{Kind, Organizers, is_class};

use crate::recurrence::{NotPlannable, Schedule, Slot};

/// The way in which a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// On the media server.
    Online,
    /// In a room in the building.
    InPerson,
    /// Online and in person.
    Hybrid,
}

impl Format {
    const ALL: [Self; 3] = [Self::Online, Self::InPerson, Self::Hybrid];

    /// The number in the database.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::Online => 1,
            Self::InPerson => 2,
            Self::Hybrid => 3,
        }
    }

    pub(crate) fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.number() == number)
    }
}

/// A call to be planned. The fields are valid; permissions and the roster were not checked yet.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) org_id: OrgId,
    /// The unit that the call is for.
    pub(crate) unit_id: UnitId,
    pub(crate) title: String,
    pub(crate) kind: Kind,
    pub(crate) format: Format,
    /// The room in the building; empty for most online calls.
    pub(crate) room: String,
    /// Members of the audience that the call is for; empty if it is for all of them.
    pub(crate) participants: Vec<MemberId>,
}

/// The reason why a call was canceled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelReason {
    /// A member canceled it.
    Member,
    /// The unit was archived.
    UnitArchived,
}

impl CancelReason {
    const ALL: [Self; 2] = [Self::Member, Self::UnitArchived];

    /// The number in the database.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::Member => 1,
            Self::UnitArchived => 2,
        }
    }

    pub(crate) fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }
}

/// The cancellation of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cancellation {
    pub(crate) time: DateTime<Utc>,
    pub(crate) reason: CancelReason,
}

/// A planned call or series.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) draft: Draft,
    /// Whether the unit is a class or group, and not a unit of the staff.
    pub(crate) unit_is_class: bool,
    pub(crate) organizer_id: MemberId,
    pub(crate) schedule: Schedule,
    pub(crate) announced: bool,
    /// `None` if the call will be held, or was held, as planned.
    pub(crate) canceled: Option<Cancellation>,
    pub(crate) create_time: DateTime<Utc>,
    /// Increases with each change.
    pub(crate) revision: i64,
}

impl Call {
    /// Returns the name of the call in the audit log.
    pub(crate) fn resource_name(&self) -> String {
        format!("organizations/{}/calls/{}", self.draft.org_id, self.id)
    }

    /// Returns the name of an occurrence in the audit log.
    pub(crate) fn occurrence_name(&self, start: DateTime<Utc>) -> String {
        format!("{}/occurrences/{}", self.resource_name(), start.timestamp())
    }

    /// Returns whether the occurrence that starts at this time was canceled with the call. If the unit was
    /// archived, an occurrence that had begun continues until its end.
    pub(crate) fn is_canceled_at(&self, start: DateTime<Utc>) -> bool {
        self.canceled.is_some_and(|canceled| match canceled.reason {
            CancelReason::Member => true,
            CancelReason::UnitArchived => start > canceled.time,
        })
    }

    /// Returns whether pupils belong to the audience.
    pub(crate) fn has_pupils(&self) -> bool {
        self.draft.kind.rule().audience.pupils
    }

    /// Returns the occurrence that starts at this time.
    pub(crate) fn slot_at(&self, start: DateTime<Utc>) -> Option<Slot> {
        self.schedule.slots().ok()?.into_iter().find(|s| s.start == start)
    }
}

/// A call with the computed fields of a response.
#[derive(Debug, Clone)]
pub(crate) struct CallView {
    pub(crate) call: Call,
    /// The start of the first occurrence.
    pub(crate) start_time: DateTime<Utc>,
}

impl CallView {
    pub(crate) fn of(call: Call) -> Result<Self, NotPlannable> {
        let slots = call.schedule.slots()?;
        let start_time = slots.first().ok_or(NotPlannable)?.start;
        Ok(Self { call, start_time })
    }
}

/// An occurrence with the computed fields of a response.
#[derive(Debug, Clone)]
pub(crate) struct OccurrenceView {
    pub(crate) call: Call,
    pub(crate) slot: Slot,
    /// Whether the occurrence was canceled, by itself or with the call.
    pub(crate) canceled: bool,
    /// Whether the caller may join.
    pub(crate) may_join: bool,
}
