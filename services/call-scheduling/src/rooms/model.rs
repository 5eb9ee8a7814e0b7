//! A room of the media server and a member in it.
use chrono::{DateTime, Utc};
use parta_ids::{CallId, MemberId};
use serde::{Deserialize, Serialize};

/// The room of one occurrence of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Room {
    pub(crate) call_id: CallId,
    /// The start of the occurrence.
    pub(crate) start_time: DateTime<Utc>,
}

impl Room {
    /// The name on the media server.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.call_id, self.start_time.timestamp())
    }
}

/// A member who got a token for a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entrant {
    pub(crate) room: Room,
    pub(crate) member_id: MemberId,
    /// Whether the token gives the powers of the organizer.
    pub(crate) host: bool,
    /// When the room closes. No token is valid afterwards.
    pub(crate) close_time: DateTime<Utc>,
    /// Since when the member must be out; `None` for a member who may be in the room.
    pub(crate) remove_time: Option<DateTime<Utc>>,
}
