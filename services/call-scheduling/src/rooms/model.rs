//! A room of the media server, and the people who were admitted to it.
use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{CallId, MemberId, SessionId, Uuid};
use serde::{Deserialize, Serialize};

/// The time for which a room with pupils stays open after its last adult has gone, and in which an adult who
/// got a token is expected (F15).
const WITHOUT_ADULT: TimeDelta = TimeDelta::minutes(3);

/// The room of one occurrence of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// A room to which people were admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenRoom {
    pub(crate) room: Room,
    /// When the room closes. No token of this service is valid afterwards.
    pub(crate) close_time: DateTime<Utc>,
    /// The first token for staff of whom nobody has been seen in the room since.
    pub(crate) token_time: Option<DateTime<Utc>>,
    /// The last time when staff was seen in the room.
    pub(crate) seen_time: Option<DateTime<Utc>>,
    /// The id of the next look into the room.
    pub(crate) look_id: Uuid,
}

impl OpenRoom {
    /// Whether others than staff may receive and publish media. A call without pupils is open once staff has
    /// got a token. One with pupils is open while an adult is there or expected: another token that nobody
    /// uses does not keep it open.
    pub(crate) fn is_open(&self, has_pupils: bool, now: DateTime<Utc>) -> bool {
        let since = self.token_time.max(self.seen_time);
        since.is_some_and(|since| !has_pupils || now < since + WITHOUT_ADULT)
    }
}

/// The label of a person in a room: the role by which the person is in the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    Teacher,
    Staff,
    Pupil,
    Parent,
}

impl Label {
    const ALL: [Self; 4] = [Self::Teacher, Self::Staff, Self::Pupil, Self::Parent];

    /// The text that the clients of the other participants show.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Staff => "staff",
            Self::Pupil => "pupil",
            Self::Parent => "parent",
        }
    }

    /// The number in the database.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::Teacher => 1,
            Self::Staff => 2,
            Self::Pupil => 3,
            Self::Parent => 4,
        }
    }

    pub(crate) fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.number() == number)
    }
}

/// The most that the tokens of one identity say and give. A person has another identity for each standing, so
/// that an earlier token gives nothing to a person who may be there with less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether the person has the powers of the organizer.
    pub(crate) host: bool,
    pub(crate) label: Label,
}

/// A person who got a token for a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entrant {
    pub(crate) room: Room,
    /// The name on the media server.
    pub(crate) identity: String,
    pub(crate) member_id: MemberId,
    /// The session in which the token was issued.
    pub(crate) session_id: SessionId,
    pub(crate) standing: Standing,
    /// When the room closes.
    pub(crate) close_time: DateTime<Utc>,
    /// Whether the session was seen to have ended.
    pub(crate) session_ended: bool,
}

/// A person who is in a room of the media server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) identity: String,
    /// Whether the person may receive or publish media, and does not wait in the lobby.
    pub(crate) uses_media: bool,
}
