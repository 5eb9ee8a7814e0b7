use parta_access::{Caller, Principal};
use parta_ids::{ChatId, OrgId, TypedId, UnitId};
use parta_status::not_found;
use uuid::Uuid;

use super::{MessageService, SendMessage};
use crate::{
    entries::{Rule, find_chat_by_key},
    error::Error,
    messages::writer::Stored,
};

/// A message that a service writes for a person into the chat of the pupils of a class.
pub(crate) struct PostAnnouncement {
    pub(crate) org_id: OrgId,
    pub(crate) unit_id: UnitId,
    pub(crate) request_id: Uuid,
    pub(crate) text: String,
}

impl MessageService {
    /// Stores the message for the person whose token the service presents. The entry names the service.
    pub(crate) async fn announce(
        &self,
        caller: &Caller,
        announcement: PostAnnouncement,
    ) -> Result<(ChatId, Stored), Error> {
        let PostAnnouncement {
            org_id,
            unit_id,
            request_id,
            text,
        } = announcement;
        let conn = self.context.db.conn();
        let (scope, member) = self.context.reader(conn, caller, org_id).await?;
        let found = find_chat_by_key(conn, &scope, &Rule::Pupils(unit_id).key()).await?;
        let chat_id = found
            .map(|row| ChatId::from_uuid(row.chat_id))
            .ok_or_else(|| not_found("unit", unit_id))?;
        let service = match &caller.principal {
            Principal::Service { name } => Some(name.clone()),
            _ => None,
        };
        let send = SendMessage {
            org_id,
            chat_id,
            request_id,
            text,
        };
        let stored = self
            .store(&scope, member, send, service)
            .await
            .map_err(|error| match error {
                // The caller belongs to the organization and may know that its classes have chats.
                Error::UnknownChat(chat) => Error::MayNotPost(chat),
                other => other,
            })?;
        Ok((chat_id, stored))
    }
}
