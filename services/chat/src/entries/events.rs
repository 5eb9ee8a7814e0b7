//! Events of chats and their participants in the feed.
use parta_access::OrgScope;
use parta_database::Tx;
use parta_feed::append_event;
use parta_ids::{ChatId, MemberId, UnitId, optional_text};
use parta_proto_chat::v1::{self as pb, chat_event::Payload};

use super::{Content, Entry, Responsibility};

pub(crate) fn chat_created(chat: ChatId, unit: Option<UnitId>) -> Payload {
    Payload::ChatCreated(pb::ChatCreated {
        chat_id: chat.to_string(),
        unit_id: optional_text(unit),
    })
}

pub(crate) fn chat_archived(chat: ChatId) -> Payload {
    Payload::ChatArchived(pb::ChatArchived {
        chat_id: chat.to_string(),
    })
}

pub(crate) fn participant_joined(chat: ChatId, member: MemberId) -> Payload {
    Payload::ParticipantJoined(pb::ParticipantJoined {
        chat_id: chat.to_string(),
        member_id: member.to_string(),
    })
}

pub(crate) fn responsibility_changed(chat: ChatId, responsibility: Responsibility) -> Payload {
    Payload::ResponsibilityChanged(pb::ResponsibilityChanged {
        chat_id: chat.to_string(),
        responsible_id: optional_text(responsibility.member),
        deputy_id: optional_text(responsibility.deputy),
    })
}

pub(super) fn append_responsibility_changed(
    tx: &Tx,
    scope: &OrgScope,
    chat: ChatId,
    responsibility: Responsibility,
) {
    append_event(tx, scope.org_id(), responsibility_changed(chat, responsibility));
}

pub(super) fn append_chat_created(tx: &Tx, scope: &OrgScope, chat: ChatId, unit: Option<UnitId>) {
    append_event(tx, scope.org_id(), chat_created(chat, unit));
}

pub(super) fn append_chat_archived(tx: &Tx, scope: &OrgScope, chat: ChatId) {
    append_event(tx, scope.org_id(), chat_archived(chat));
}

/// Appends the event of an entry. Messages have none: they never pass through the feed.
pub(super) fn append_participant_moved(tx: &Tx, scope: &OrgScope, entry: &Entry) {
    let payload = match entry.content {
        Content::Message { .. } => return,
        Content::Joining(member, _) => participant_joined(entry.chat_id, member),
        Content::Leaving(member, _) => Payload::ParticipantLeft(pb::ParticipantLeft {
            chat_id: entry.chat_id.to_string(),
            member_id: member.to_string(),
            left_seq: entry.seq,
        }),
    };
    append_event(tx, scope.org_id(), payload);
}
