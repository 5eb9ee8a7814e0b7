//! The kinds of chats and participants in stored rows. A number that this build does not know is an error.
use parta_database::StorageError;

use super::{chat, participant};
use crate::entries::{ChatKind, ParticipantKind};

pub(crate) fn kind_of(chat: &chat::Model) -> Result<ChatKind, StorageError> {
    ChatKind::from_number(chat.kind).ok_or_else(|| StorageError::unknown_value("chat.kind", chat.kind))
}

pub(crate) fn participant_kind(row: &participant::Model) -> Result<ParticipantKind, StorageError> {
    known_kind(row.kind)
}

pub(super) fn known_kind(number: i16) -> Result<ParticipantKind, StorageError> {
    ParticipantKind::from_number(number)
        .ok_or_else(|| StorageError::unknown_value("participant.kind", number))
}
