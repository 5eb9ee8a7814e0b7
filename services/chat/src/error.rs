//! Why chat refuses, and the one mapping to documented reasons.
use parta_ids::{ChatId, MemberId};
use parta_proto::parta::{chat::v1::ErrorReason, status::v1::ErrorReason as Common};
use parta_status::{RpcError, not_found};
use parta_storage::StorageError;
use sea_orm::DbErr;

use crate::chats::MAX_PARTICIPANTS;

/// Why chat refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such chat for the caller.
    #[error("no chat {0}")]
    UnknownChat(ChatId),
    /// There is no such member in the organization.
    #[error("no member {0}")]
    UnknownMember(MemberId),
    /// The chat is read-only.
    #[error("{0} is archived")]
    Archived(ChatId),
    /// Who is in the chat is not decided by hand.
    #[error("the participants of {0} are not changed by hand")]
    ParticipantsFixed(ChatId),
    /// The caller may not talk with the member, or not in one room with the others.
    #[error("{0} cannot be reached")]
    NotReachable(MemberId),
    /// The chat would have more people than it may.
    #[error("more than {MAX_PARTICIPANTS} participants")]
    TooMany,
    /// The sender reads only.
    #[error("no right to write in {0}")]
    MayNotPost(ChatId),
    /// The `request_id` stands for another message.
    #[error("request_id used for another message")]
    RequestIdReused(uuid::Uuid),
    /// The live reader did not keep up.
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
                let why = "The chat is read-only: its unit was archived.";
                Self::new(ErrorReason::ChatArchived, why)
                    .precondition("CHAT", chat, "archived")
                    .meta("chat_id", chat)
            }
            Error::ParticipantsFixed(chat) => {
                let why = "Nobody is added to or removed from this chat by hand.";
                Self::new(ErrorReason::ParticipantsFixed, why)
                    .precondition("CHAT", chat, "not a chat that names people")
                    .meta("chat_id", chat)
            }
            Error::NotReachable(member) => Self::new(
                ErrorReason::MemberNotReachable,
                "The caller may not bring this member into the chat.",
            )
            .meta("member_id", member),
            Error::TooMany => Self::new(
                ErrorReason::TooManyParticipants,
                "The chat would have too many participants.",
            )
            .precondition("CHAT", "participants", "too many")
            .meta("limit", MAX_PARTICIPANTS),
            Error::MayNotPost(_) => {
                parta_status::permission_denied("The caller reads this chat and does not write in it.")
            }
            Error::RequestIdReused(id) => Self::new(
                Common::RequestIdReused,
                "The request_id was used for another message in this chat.",
            )
            .field("request_id", "stands for another message")
            .meta("request_id", id),
            Error::SlowReader => {
                let why =
                    "Entries came faster than they were read. Subscribe again from where reading stopped.";
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
