use parta_ids::EntryId;

use super::{PendingMessage, Time};

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

impl Outcome {
    /// Of a post whose `request_id` is stored with this digest.
    pub(super) fn repeated(post: &PendingMessage, digest: Option<&[u8]>, stored: Stored) -> Self {
        if digest == Some(post.digest.as_slice()) {
            Self::Stored(stored)
        } else {
            Self::RequestIdReused
        }
    }
}

/// Where a message is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) entry_id: EntryId,
    pub(crate) seq: i64,
    pub(crate) create_time: Time,
}
