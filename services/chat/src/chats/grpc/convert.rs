//! From the wire and back.
use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use parta_ids::{ChatId, MemberId, OrgId, TypedId, UnitId};
use parta_proto::parta::chat::{internal::v1 as internal, v1 as pb};
use parta_status::{FieldViolations, RpcError, field};
use prost_types::Timestamp;
use uuid::Uuid;

use crate::{
    chats::operations::CreateChat,
    entries::{
        model::{ChatKind, TEXT_MAX, TITLE_MAX, titles},
        storage::{ChatMembership, EntryRow, Kind, participant},
    },
    messages::operations::{SendMessage, request_id},
    talk_policy::MAX_NAMED,
};

/// Most chats that a subscription may name.
const MAX_CURSORS: usize = 1_000;

pub(crate) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().cast_signed(),
    }
}

/// What a request must have, once its violations were answered.
fn checked<T>(violations: FieldViolations, value: Option<T>) -> Result<T, RpcError> {
    violations.finish()?;
    value.ok_or_else(|| RpcError::internal("a violation was not noted"))
}

pub(crate) fn org(text: &str) -> Result<OrgId, RpcError> {
    let mut v = FieldViolations::default();
    let org = field::id(&mut v, "org_id", text);
    checked(v, org)
}

/// The organization and one more id.
pub(crate) fn pair<T: TypedId>(org: &str, path: &str, text: &str) -> Result<(OrgId, T), RpcError> {
    let mut v = FieldViolations::default();
    let org = field::id(&mut v, "org_id", org);
    let other = field::id(&mut v, path, text);
    checked(v, org.zip(other))
}

fn members(v: &mut FieldViolations, texts: &[String]) -> Vec<MemberId> {
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

pub(crate) fn people(
    org: &str,
    chat: &str,
    named: &[String],
) -> Result<(OrgId, ChatId, Vec<MemberId>), RpcError> {
    let mut v = FieldViolations::default();
    let org = field::id(&mut v, "org_id", org);
    let chat = field::id(&mut v, "chat_id", chat);
    let named = members(&mut v, named);
    let (org, chat) = checked(v, org.zip(chat))?;
    Ok((org, chat, named))
}

pub(crate) fn create_chat(from: &pb::CreateChatRequest) -> Result<CreateChat, RpcError> {
    let mut v = FieldViolations::default();
    let org = field::id(&mut v, "org_id", &from.org_id);
    let title = field::text(&mut v, "title", &from.title, 1..=TITLE_MAX, false);
    let member_ids = members(&mut v, &from.member_ids);
    Ok(CreateChat {
        org_id: checked(v, org)?,
        title,
        member_ids,
    })
}

pub(crate) fn send_message(from: &pb::SendMessageRequest) -> Result<SendMessage, RpcError> {
    let mut v = FieldViolations::default();
    let request_id = request_id(&mut v, &from.request_id);
    let org = field::id(&mut v, "org_id", &from.org_id);
    let chat = field::id(&mut v, "chat_id", &from.chat_id);
    let text = field::text(&mut v, "text", &from.text, 1..=TEXT_MAX, true);
    let ((org_id, chat_id), request_id) = checked(v, org.zip(chat).zip(request_id))?;
    Ok(SendMessage {
        org_id,
        chat_id,
        request_id,
        text,
    })
}

type Announcement = ((OrgId, UnitId), Uuid, String);

pub(crate) fn announcement(from: &internal::PostAnnouncementRequest) -> Result<Announcement, RpcError> {
    let mut v = FieldViolations::default();
    let request_id = request_id(&mut v, &from.request_id);
    let org = field::id(&mut v, "org_id", &from.org_id);
    let unit = field::id(&mut v, "unit_id", &from.unit_id);
    let text = field::text(&mut v, "text", &from.text, 1..=TEXT_MAX, true);
    let (place, request_id) = checked(v, org.zip(unit).zip(request_id))?;
    Ok((place, request_id, text))
}

pub(crate) fn subscribe(from: &pb::SubscribeChatsRequest) -> Result<(OrgId, HashMap<ChatId, i64>), RpcError> {
    let mut v = FieldViolations::default();
    let org = field::id(&mut v, "org_id", &from.org_id);
    v.check(
        from.cursors.len() <= MAX_CURSORS,
        "cursors",
        format!("must be at most {MAX_CURSORS}"),
    );
    let mut cursors = HashMap::new();
    for (at, cursor) in from.cursors.iter().take(MAX_CURSORS).enumerate() {
        v.check(
            cursor.seq >= 0,
            format!("cursors[{at}].seq"),
            "must not be negative",
        );
        if let Some(chat) = field::id(&mut v, &format!("cursors[{at}].chat_id"), &cursor.chat_id) {
            let twice = cursors.insert(chat, cursor.seq).is_some();
            v.check(!twice, format!("cursors[{at}].chat_id"), "must be named once");
        }
    }
    Ok((checked(v, org)?, cursors))
}

fn kind(kind: ChatKind) -> pb::ChatKind {
    match kind {
        ChatKind::SchoolChannel => pb::ChatKind::SchoolChannel,
        ChatKind::StaffChannel => pb::ChatKind::StaffChannel,
        ChatKind::ClassPupils => pb::ChatKind::ClassPupils,
        ChatKind::ClassParents => pb::ChatKind::ClassParents,
        ChatKind::ClassTeachers => pb::ChatKind::ClassTeachers,
        ChatKind::Custom => pb::ChatKind::Custom,
        ChatKind::Direct => pb::ChatKind::Direct,
    }
}

/// A chat as the member of this standing sees it.
pub(crate) fn chat(of: ChatKind, standing: &ChatMembership, peer: Option<MemberId>) -> pb::Chat {
    let (chat, seat) = (&standing.chat, &standing.seat);
    let (title, title_english) = titles(of, &chat.label);
    let seen = seat.left_seq.unwrap_or(chat.head_seq);
    pb::Chat {
        id: standing.chat_id().to_string(),
        org_id: OrgId::from_uuid(chat.org_id).to_string(),
        kind: kind(of).into(),
        unit_id: chat
            .unit_id
            .map(|id| UnitId::from_uuid(id).to_string())
            .unwrap_or_default(),
        title,
        title_english,
        peer_id: peer.map(|id| id.to_string()).unwrap_or_default(),
        head_seq: seen,
        read_seq: seat.read_seq,
        unread_count: (seen - seat.read_seq).max(0),
        may_post: seat.may_post && seat.left_seq.is_none() && chat.archive_time.is_none(),
        create_time: Some(timestamp(chat.create_time)),
        archive_time: chat.archive_time.map(timestamp),
        left_seq: seat.left_seq,
    }
}

pub(crate) fn participant(row: &participant::Model) -> pb::Participant {
    pb::Participant {
        member_id: MemberId::from_uuid(row.member_id).to_string(),
        joined_seq: row.joined_seq,
        may_post: row.may_post,
    }
}

impl From<EntryRow> for pb::Entry {
    fn from(row: EntryRow) -> Self {
        use pb::entry::Content;
        let content = match row.kind {
            Kind::Message {
                sender,
                text,
                service,
            } => Content::Message(pb::Message {
                sender_id: sender.to_string(),
                text,
                service: service.unwrap_or_default(),
            }),
            Kind::Joining(member) => Content::Joining(pb::Joining {
                member_id: member.to_string(),
            }),
            Kind::Leaving(member) => Content::Leaving(pb::Leaving {
                member_id: member.to_string(),
            }),
        };
        Self {
            id: row.entry_id.to_string(),
            chat_id: row.chat_id.to_string(),
            seq: row.seq,
            create_time: Some(timestamp(row.create_time)),
            content: Some(content),
        }
    }
}
