use parta_access::{Caller, Principal};
use parta_ids::{ChatId, TypedId, UnitId};
use parta_status::not_found;

use super::MessageService;
use crate::{
    entries::{Rule, find_chat_by_key},
    error::Error,
    messages::{model::Message, writer::Stored},
};

impl MessageService {
    /// Stores a message in the chat of the pupils of a class for the person whose token a service presents.
    /// The entry names the service.
    pub(crate) async fn announce(
        &self,
        caller: &Caller,
        announcement: Message<UnitId>,
    ) -> Result<(ChatId, Stored), Error> {
        let Message {
            org_id,
            to: unit_id,
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
        let message = Message {
            org_id,
            to: chat_id,
            request_id,
            text,
        };
        let stored = self
            .store(caller, &scope, member, service, message)
            .await
            .map_err(|error| match error {
                // The caller belongs to the organization and may know that its classes have chats.
                Error::UnknownChat(_) => Error::may_not_post(),
                other => other,
            })?;
        Ok((chat_id, stored))
    }
}
