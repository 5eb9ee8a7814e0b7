use std::collections::BTreeSet;

use parta_ids::{ChatId, MemberId, OrgId, TypedId, UnitId, optional_text};
use parta_proto::timestamp;
use parta_proto_chat::v1 as pb;
use parta_status::{FieldViolations, field};

use crate::{
    chats::{
        model::{MAX_NAMED, titles},
        operations::{ChatView, UnsupervisedChat},
    },
    entries::{ChatKind, Responsibility, participant, responsibility_of},
};

/// Decodes `member_ids`, without duplicates.
pub(super) fn members(v: &mut FieldViolations, texts: &[String]) -> Vec<MemberId> {
    v.check(
        (1..=MAX_NAMED).contains(&texts.len()),
        "member_ids",
        format!("must have 1 to {MAX_NAMED} ids"),
    );
    let ids: BTreeSet<MemberId> = texts
        .iter()
        .take(MAX_NAMED)
        .enumerate()
        .filter_map(|(at, text)| field::id(v, &format!("member_ids[{at}]"), text))
        .collect();
    ids.into_iter().collect()
}

fn kind(kind: ChatKind) -> pb::ChatKind {
    match kind {
        ChatKind::SchoolChannel => pb::ChatKind::SchoolChannel,
        ChatKind::StaffChannel => pb::ChatKind::StaffChannel,
        ChatKind::StaffRoom => pb::ChatKind::StaffRoom,
        ChatKind::ParentsChannel => pb::ChatKind::ParentsChannel,
        ChatKind::PupilsChannel => pb::ChatKind::PupilsChannel,
        ChatKind::ClassPupils => pb::ChatKind::ClassPupils,
        ChatKind::ClassParents => pb::ChatKind::ClassParents,
        ChatKind::ClassTeachers => pb::ChatKind::ClassTeachers,
        ChatKind::Custom => pb::ChatKind::Custom,
        ChatKind::Direct => pb::ChatKind::Direct,
    }
}

pub(super) fn chat(view: &ChatView) -> pb::Chat {
    let (chat, own) = (&view.membership.chat, &view.membership.participant);
    let (title, title_english) = titles(view.kind, &chat.label);
    let head_seq = own.left_seq.unwrap_or(chat.head_seq);
    let responsibility = if view.shows_responsibility {
        responsibility_of(chat)
    } else {
        Responsibility::default()
    };
    pb::Chat {
        id: view.membership.chat_id().to_string(),
        org_id: OrgId::from_uuid(chat.org_id).to_string(),
        kind: kind(view.kind).into(),
        unit_id: optional_text(chat.unit_id.map(UnitId::from_uuid)),
        title,
        title_english,
        peer_id: optional_text(view.peer),
        head_seq,
        read_seq: own.read_seq,
        unread_count: view.unread,
        may_post: own.may_post && own.left_seq.is_none() && chat.archive_time.is_none() && !chat.unsupervised,
        create_time: Some(timestamp(chat.create_time)),
        archive_time: chat.archive_time.map(timestamp),
        left_seq: own.left_seq,
        unsupervised: chat.unsupervised,
        responsible_id: optional_text(responsibility.member),
        deputy_id: optional_text(responsibility.deputy),
    }
}

pub(super) fn unsupervised(view: &UnsupervisedChat) -> pb::UnsupervisedChat {
    let (title, title_english) = titles(view.kind, &view.chat.label);
    pb::UnsupervisedChat {
        chat_id: ChatId::from_uuid(view.chat.chat_id).to_string(),
        kind: kind(view.kind).into(),
        unit_id: optional_text(view.chat.unit_id.map(UnitId::from_uuid)),
        title,
        title_english,
    }
}

pub(super) fn participant(row: &participant::Model) -> pb::Participant {
    pb::Participant {
        member_id: MemberId::from_uuid(row.member_id).to_string(),
        joined_seq: row.joined_seq,
        may_post: row.may_post,
    }
}
