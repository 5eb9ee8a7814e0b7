use parta_access::{Caller, Principal};
use parta_ids::{ChatId, OrgId, TypedId, UnitId};
use parta_status::not_found;
use uuid::Uuid;

use super::send::SendMessage;
use crate::{
    context::App,
    entries::{model::Rule, storage},
    error::Error,
    messages::writer::Stored,
};

impl App {
    /// Writes into the pupils' chat of a class for the person whose token traveled along, marked with the service.
    pub(crate) async fn announce(
        &self,
        caller: &Caller,
        (org_id, unit_id): (OrgId, UnitId),
        request_id: Uuid,
        text: String,
    ) -> Result<(ChatId, Stored), Error> {
        let (scope, member) = self.reader(self.db.conn(), caller, org_id).await?;
        let key = Rule::Pupils(unit_id).key();
        let found = storage::find_chat_by_key(self.db.conn(), &scope, &key).await?;
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
            .post(&scope, member, send, service)
            .await
            .map_err(|error| match error {
                // Who is not in the class's chat belongs to the organization nevertheless.
                Error::UnknownChat(chat) => Error::MayNotPost(chat),
                other => other,
            })?;
        Ok((chat_id, stored))
    }
}
