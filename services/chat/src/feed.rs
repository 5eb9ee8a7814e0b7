//! The feed of the service: its snapshot over all features.
use parta_access::{OrgScope, PermissionRule, PrincipalKind};
use parta_database::Tx;
use parta_ids::{ChatId, OrgId, TypedId, UnitId};
use parta_proto_chat::v1::chat_event::Payload;
use parta_status::RpcError;

use crate::entries::{events, list_chats, list_organizations, participants};

/// The present state as events.
pub(crate) async fn snapshot(tx: Tx, only: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, RpcError> {
    let mut payloads = Vec::new();
    for org in list_organizations(&tx, only).await? {
        let scope = OrgScope::for_consumer("chat.snapshot", org);
        for row in list_chats(&tx, &scope).await? {
            let chat = ChatId::from_uuid(row.chat_id);
            let unit = row.unit_id.map(UnitId::from_uuid);
            payloads.push((org, events::chat_created(chat, unit)));
            if row.archive_time.is_some() {
                payloads.push((org, events::chat_archived(chat)));
            }
            for member in participants(&tx, &scope, chat).await?.into_keys() {
                payloads.push((org, events::participant_joined(chat, member)));
            }
        }
    }
    Ok(payloads)
}

/// The rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let follows = |kind| matches!(kind, PrincipalKind::Service | PrincipalKind::ServiceAccount);
    vec![
        PermissionRule::own("parta.chat.v1.ChatFeedService/Watch", follows),
        PermissionRule::own("parta.chat.v1.ChatFeedService/Snapshot", follows),
    ]
}
