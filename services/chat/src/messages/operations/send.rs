use parta_access::{Caller, Decision, OrgScope, authorize};
use parta_ids::{ChatId, MemberId, OrgId};
use parta_status::FieldViolations;
use uuid::Uuid;

use crate::{
    context::{App, member_of},
    error::Error,
    messages::writer::{Message, Outcome, Stored},
};

/// A message that somebody wants to write.
pub(crate) struct SendMessage {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) request_id: Uuid,
    pub(crate) text: String,
}

impl App {
    /// Who may write in a chat is a row that follows the roster, and it is read under the lock of the chat's head; so
    /// nothing but the token's organization is decided here, and no query is made before the writer's.
    pub(crate) async fn send(&self, caller: &Caller, send: SendMessage) -> Result<Stored, Error> {
        let member = member_of(caller, send.org_id)?;
        let scope = authorize(caller, send.org_id, Decision::Allow)?;
        self.quarantined.require(&self.roster, send.org_id)?;
        self.post(&scope, member, send, None).await
    }

    pub(super) async fn post(
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

/// The `request_id` of a message, which is kept with its entry and not in a record of its own.
pub(crate) fn request_id(violations: &mut FieldViolations, text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok().filter(|id| !id.is_nil());
    violations.check(id.is_some(), "request_id", "must be a UUID, new for each act");
    id
}
