//! Positions in the logs of chats.
use parta_ids::{ChatId, EntryId};

use crate::{entries::ChatMembership, error::Error};

/// The position up to which a client has read a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) seq: i64,
    /// The entry at the position, by which a restored log is recognized.
    pub(crate) entry_id: Option<EntryId>,
}

/// The position of a stream in a chat.
pub(super) struct StoredPosition {
    pub(super) chat: ChatId,
    pub(super) seq: i64,
    /// The last sequence number of the chat.
    pub(super) head: i64,
    /// The sequence number of the leaving of the member.
    pub(super) left: Option<i64>,
}

/// The range of sequence numbers that the member may read: after the first and up to the second. In a derived
/// chat that the member has left, it is only the entry of the leaving.
pub(super) fn readable_range(membership: &ChatMembership, cursor: i64) -> Result<(i64, i64), Error> {
    Ok(
        match (membership.readable_upto()?, membership.participant.left_seq) {
            (Some(upto), _) => (cursor, upto),
            (None, Some(left)) => (cursor.max(left - 1), left),
            (None, None) => (cursor, cursor),
        },
    )
}
