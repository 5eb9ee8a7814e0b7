//! The refusals of chats and their participants.
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1::ErrorReason;
use parta_status::{RpcError, not_found};

use super::MAX_PARTICIPANTS;
use crate::error::Error;

impl Error {
    /// The organization has no such member.
    pub(in crate::chats) fn unknown_member(member: MemberId) -> Self {
        not_found("member", member).into()
    }

    /// The participants of the chat are not chosen by staff.
    pub(in crate::chats) fn participants_fixed(chat: ChatId) -> Self {
        let why =
            "The participants of this chat follow the roster. Create a chat to choose participants yourself.";
        RpcError::new(ErrorReason::ParticipantsFixed, why)
            .precondition("CHAT", chat, "not a custom chat")
            .meta("chat_id", chat)
            .into()
    }

    /// The caller may not talk with the member, or the member may not share a chat with the other
    /// participants.
    pub(in crate::chats) fn not_reachable(member: MemberId) -> Self {
        let why = "You may not add this member to the chat. Choose another member.";
        RpcError::new(ErrorReason::MemberNotReachable, why)
            .meta("member_id", member)
            .into()
    }

    /// A limit stands between a guardian and a child, who may not be in one chat.
    pub(in crate::chats) fn relation_limited(member: MemberId) -> Self {
        let why = "A limit of contact stands between a guardian and a child. Choose another member.";
        RpcError::new(ErrorReason::RelationLimited, why)
            .meta("member_id", member)
            .into()
    }

    /// The caller would supply the chat with themselves and read it, or become responsible for it.
    pub(in crate::chats) fn second_person_required() -> Self {
        let why = "Nobody decides in their own matter. Let another member of the administration do it.";
        RpcError::new(ErrorReason::SecondPersonRequired, why).into()
    }

    /// The responsible member would leave a chat in which others remain.
    pub(in crate::chats) fn responsible_required(chat: ChatId) -> Self {
        let why =
            "The responsible member does not leave while others remain in the chat. Name another one first.";
        RpcError::new(ErrorReason::ResponsibleRequired, why)
            .precondition("CHAT", chat, "the responsible member stays")
            .meta("chat_id", chat)
            .into()
    }

    /// The member may be in the chat, and may not be responsible for it.
    pub(in crate::chats) fn not_cleared(member: MemberId) -> Self {
        let why = "This member may not be responsible for the people in the chat. Name another member.";
        RpcError::new(ErrorReason::NotCleared, why)
            .meta("member_id", member)
            .into()
    }

    /// The chat would exceed the maximum number of participants.
    pub(in crate::chats) fn too_many_participants() -> Self {
        let why = "The chat would have too many participants. Remove some of them first.";
        RpcError::new(ErrorReason::TooManyParticipants, why)
            .precondition("CHAT", "participants", "above the limit")
            .meta("limit", MAX_PARTICIPANTS)
            .into()
    }
}
