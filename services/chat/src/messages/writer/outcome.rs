use parta_ids::EntryId;

use super::{PendingMessage, Time};
use crate::messages::policy::Refused;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored(Stored),
    /// The sender may not write in the chat. The same statement has read the state of the sender in the
    /// roster, which `Roster::found_state` decodes.
    Refused(Refused, Option<i32>),
    /// The sender used the `request_id` for another message in this chat.
    RequestIdReused,
}

impl Outcome {
    /// The outcome of a message whose `request_id` is already stored. `digest` is that of the stored entry;
    /// an entry that is no message has none.
    pub(super) fn repeated(pending: &PendingMessage, digest: Option<&[u8]>, stored: Stored) -> Self {
        if digest == Some(pending.digest.as_slice()) {
            Self::Stored(stored)
        } else {
            Self::RequestIdReused
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) entry_id: EntryId,
    pub(crate) seq: i64,
    pub(crate) create_time: Time,
}
