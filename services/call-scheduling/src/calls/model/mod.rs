//! A planned call.
pub mod kind;

use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{CallId, MemberId, OrgId, UnitId};

use kind::Kind;

use crate::recurrence::model::{Schedule, Slot};

/// The room opens so long before the start and closes so long after the end.
pub const MARGIN: TimeDelta = TimeDelta::minutes(15);
/// How long a token for the media server is good for at most.
pub const TOKEN_TTL: TimeDelta = TimeDelta::minutes(10);

/// How a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// By the media server.
    Online,
    /// In a room.
    InPerson,
    /// Both.
    Hybrid,
}

/// What is to be planned; checked for form, not yet for right.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The organization.
    pub org_id: OrgId,
    /// The unit it is for.
    pub unit_id: UnitId,
    /// What people see.
    pub title: String,
    /// What it is.
    pub kind: Kind,
    /// How it is held.
    pub format: Format,
    /// Where it is held.
    pub room: String,
    /// For whom of the audience it is; empty: for all.
    pub participants: Vec<MemberId>,
}

/// A planned call or series.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its id.
    pub id: CallId,
    /// What was planned.
    pub draft: Draft,
    /// Whether its unit is a class or group; else it is one of the staff.
    pub of_class: bool,
    /// Who organizes it.
    pub organizer_id: MemberId,
    /// When it is held.
    pub schedule: Schedule,
    /// Whether it was announced.
    pub announced: bool,
    /// When it was cancelled.
    pub cancel_time: Option<DateTime<Utc>>,
    /// When it was planned.
    pub create_time: DateTime<Utc>,
    /// Rises with each change.
    pub revision: i64,
}

impl Call {
    /// Its name in audit rows.
    pub fn resource_name(&self) -> String {
        format!("organizations/{}/calls/{}", self.draft.org_id, self.id)
    }

    /// The occurrence that starts at this moment.
    pub fn slot_at(&self, start: DateTime<Utc>) -> Option<Slot> {
        self.schedule.slots().ok()?.into_iter().find(|s| s.start == start)
    }

    /// The media server's room of one occurrence.
    pub fn room(&self, slot: &Slot) -> String {
        format!("{}-{}", self.id, slot.start.timestamp())
    }
}
