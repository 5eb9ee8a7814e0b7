//! The refusals of messages.
use parta_ids::{ChatId, UnitId, Uuid};
use parta_proto::status::v1::ErrorReason as Common;
use parta_proto_chat::v1::ErrorReason;
use parta_status::{RpcError, permission_denied};

use crate::error::Error;

impl Error {
    /// The chat is read-only.
    pub(in crate::messages) fn archived(chat: ChatId) -> Self {
        let why = "This chat is read-only because its class or group was archived. Write in another chat.";
        RpcError::new(ErrorReason::ChatArchived, why)
            .precondition("CHAT", chat, "archived")
            .meta("chat_id", chat)
            .into()
    }

    /// The chat is read-only, because pupils would be left alone in it, or nobody is responsible for it.
    pub(crate) fn unsupervised(chat: ChatId) -> Self {
        let why =
            "This chat is read-only until a responsible adult takes part in it. Ask the administration.";
        RpcError::new(ErrorReason::ChatReadOnly, why)
            .precondition("CHAT", chat, "no responsible adult")
            .meta("chat_id", chat)
            .into()
    }

    /// Nobody else reads the chats of an announcement.
    pub(in crate::messages) fn reaches_nobody(unit: UnitId) -> Self {
        let why = "Nobody reads the chats of this announcement yet. Inform the people yourself.";
        RpcError::new(ErrorReason::AnnouncementReachesNobody, why)
            .precondition("UNIT", unit, "no reader")
            .meta("unit_id", unit)
            .into()
    }

    /// The sender may only read.
    pub(in crate::messages) fn may_not_post() -> Self {
        permission_denied("You can only read this chat. Ask the administration if you need to write in it.")
            .into()
    }

    pub(in crate::messages) fn request_id_reused(id: Uuid) -> Self {
        let why =
            "The request_id was used for another message in this chat. Send the message with a new one.";
        RpcError::new(Common::RequestIdReused, why)
            .field("request_id", "used for another message")
            .meta("request_id", id)
            .into()
    }
}
