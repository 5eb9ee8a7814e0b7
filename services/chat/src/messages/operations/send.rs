use parta_access::{Caller, Decision, OrgScope, authorize};
use parta_ids::{ChatId, MemberId, OrgId};
use parta_roster::Roster;
use uuid::Uuid;

use super::MessageService;
use crate::{
    error::Error,
    messages::writer::{Message, Outcome, Stored},
};

/// A message to be stored.
pub(crate) struct SendMessage {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) request_id: Uuid,
    pub(crate) text: String,
}

impl MessageService {
    /// Stores a message. The right to write is a row that follows the roster, and the writer reads it with
    /// the row of the chat locked. Therefore only the organization of the token is checked here, and no query
    /// precedes that of the writer.
    pub(crate) async fn send(&self, caller: &Caller, send: SendMessage) -> Result<Stored, Error> {
        let member = Roster::caller_member(caller, send.org_id)?;
        let scope = authorize(caller, send.org_id, Decision::Allow)?;
        self.context
            .quarantined
            .require(&self.context.roster, send.org_id)?;
        let org_id = send.org_id;
        match self.store(&scope, member, send, None).await {
            Err(unknown @ Error::UnknownChat(_)) => {
                // A member who has left the organization gets NOT_FOUND of the organization, as from every
                // other RPC.
                self.context
                    .reader(self.context.db.conn(), caller, org_id)
                    .await?;
                Err(unknown)
            }
            other => other,
        }
    }

    pub(super) async fn store(
        &self,
        scope: &OrgScope,
        member: MemberId,
        send: SendMessage,
        service: Option<String>,
    ) -> Result<Stored, Error> {
        let SendMessage {
            chat_id,
            request_id,
            text,
            ..
        } = send;
        let message = Message {
            chat_id,
            sender: member,
            request_id,
            text,
            service,
        };
        match self.writer.send(scope, message).await? {
            Outcome::Stored(stored) => Ok(stored),
            Outcome::NotParticipant => Err(Error::UnknownChat(chat_id)),
            Outcome::MayNotPost => Err(Error::MayNotPost(chat_id)),
            Outcome::Archived => Err(Error::Archived(chat_id)),
            Outcome::RequestIdReused => Err(Error::RequestIdReused(request_id)),
        }
    }
}
