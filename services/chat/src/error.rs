//! The errors of the service and their mapping to documented reasons.
use parta_database::StorageError;
use parta_ids::{ChatId, MemberId};
use parta_proto::parta::{chat::v1::ErrorReason, status::v1::ErrorReason as Common};
use parta_status::{RpcError, not_found};
use sea_orm::DbErr;

use crate::chats::MAX_PARTICIPANTS;

/// An error of the service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The chat does not exist, or the caller may not know of it.
    #[error("chat {0} not found")]
    UnknownChat(ChatId),
    /// The organization has no such member.
    #[error("member {0} not found")]
    UnknownMember(MemberId),
    /// The chat is read-only.
    #[error("chat {0} is archived")]
    Archived(ChatId),
    /// The participants of the chat are not chosen by staff.
    #[error("the participants of chat {0} are fixed")]
    ParticipantsFixed(ChatId),
    /// The caller may not talk with the member, or the member may not share a chat with the other
    /// participants.
    #[error("member {0} cannot be reached")]
    NotReachable(MemberId),
    /// The chat would exceed the maximum number of participants.
    #[error("more than {MAX_PARTICIPANTS} participants")]
    TooMany,
    /// The sender may only read.
    #[error("no right to write in chat {0}")]
    MayNotPost(ChatId),
    /// The sender used the `request_id` for another message.
    #[error("request_id used for another message")]
    RequestIdReused(uuid::Uuid),
    /// The queue of a live stream was full.
    #[error("slow reader")]
    SlowReader,
    /// A refusal with a reason of its own.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownChat(chat) => not_found("chat", chat),
            Error::UnknownMember(member) => not_found("member", member),
            Error::Archived(chat) => {
                let why =
                    "This chat is read-only because its class or group was archived. Write in another chat.";
                Self::new(ErrorReason::ChatArchived, why)
                    .precondition("CHAT", chat, "archived")
                    .meta("chat_id", chat)
            }
            Error::ParticipantsFixed(chat) => {
                let why = "The participants of this chat follow the roster. Create a chat to choose participants yourself.";
                Self::new(ErrorReason::ParticipantsFixed, why)
                    .precondition("CHAT", chat, "not a custom chat")
                    .meta("chat_id", chat)
            }
            Error::NotReachable(member) => Self::new(
                ErrorReason::MemberNotReachable,
                "You may not add this member to the chat. Choose another member.",
            )
            .meta("member_id", member),
            Error::TooMany => Self::new(
                ErrorReason::TooManyParticipants,
                "The chat would have too many participants. Remove some of them first.",
            )
            .precondition("CHAT", "participants", "above the limit")
            .meta("limit", MAX_PARTICIPANTS),
            Error::MayNotPost(_) => parta_status::permission_denied(
                "You can only read this chat. Ask the administration if you need to write in it.",
            ),
            Error::RequestIdReused(id) => Self::new(
                Common::RequestIdReused,
                "The request_id was used for another message in this chat. Send the message with a new one.",
            )
            .field("request_id", "used for another message")
            .meta("request_id", id),
            Error::SlowReader => {
                let why = "The stream was read too slowly. Subscribe again with the cursors of the last entries read.";
                Self::new(ErrorReason::SlowReader, why).retry_after(std::time::Duration::from_millis(500))
            }
            Error::Refused(refusal) => refusal,
            Error::Storage(error) => error.into(),
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        RpcError::from(error).into()
    }
}
