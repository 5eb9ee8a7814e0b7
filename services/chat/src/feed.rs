//! The feed of the service: its snapshot over all features.
use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{ChatId, OrgId, TypedId, UnitId};
use parta_proto_chat::v1::chat_event::Payload;
use parta_status::RpcError;

use crate::entries::{
    ChatKind, Responsibility, events, kind_of, list_chats, participants, responsibility_of,
};

/// The present state of an organization as events. Personal chats are no part of the feed.
pub(crate) async fn snapshot(tx: Tx, org: OrgId) -> Result<Vec<Payload>, RpcError> {
    let scope = OrgScope::for_consumer("chat.snapshot", org);
    let mut payloads = Vec::new();
    for row in list_chats(&tx, &scope).await? {
        if kind_of(&row)? == ChatKind::Direct {
            continue;
        }
        let chat = ChatId::from_uuid(row.chat_id);
        let unit = row.unit_id.map(UnitId::from_uuid);
        payloads.push(events::chat_created(chat, unit));
        if row.archive_time.is_some() {
            payloads.push(events::chat_archived(chat));
        }
        for member in participants(&tx, &scope, chat).await?.into_keys() {
            payloads.push(events::participant_joined(chat, member));
        }
        let responsibility = responsibility_of(&row);
        if responsibility != Responsibility::default() {
            payloads.push(events::responsibility_changed(chat, responsibility));
        }
    }
    Ok(payloads)
}
