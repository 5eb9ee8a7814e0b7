use parta_ids::EntryId;

use super::Time;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is stored.
    Stored(Stored),
    /// The sender is not in the chat, or there is none.
    NotParticipant,
    /// The sender reads only.
    MayNotPost,
    /// The chat is read-only.
    Archived,
    /// The `request_id` stands for another message of the sender in this chat.
    RequestIdReused,
}

/// Where a message is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) entry_id: EntryId,
    pub(crate) seq: i64,
    pub(crate) create_time: Time,
}

/// Numbers that `chat_post` answers.
pub(super) const ALREADY: i16 = 0;
pub(super) const FRESH: i16 = 1;
pub(super) const NOT_PARTICIPANT: i16 = 2;
pub(super) const MAY_NOT_POST: i16 = 3;
pub(super) const ARCHIVED: i16 = 4;
pub(super) const REUSED: i16 = 5;
