use parta_access::{Caller, OrgScope, belongs};
use parta_ids::MemberId;
use parta_roster::Roster;

use super::MessageService;
use crate::{
    entries::find_chat,
    error::Error,
    messages::{
        model::Message,
        policy::Refused,
        writer::{Outcome, Stored},
    },
};

impl MessageService {
    /// Stores a message. The right to write is a row that follows the roster, and the writer reads it with
    /// the row of the chat locked. Therefore only the organization of the token is checked here, and no query
    /// precedes that of the writer.
    pub(crate) async fn send(&self, caller: &Caller, message: Message) -> Result<Stored, Error> {
        let member = Roster::caller_member(caller, message.org_id)?;
        let scope = belongs(caller, message.org_id)?;
        self.context.roster.require(message.org_id)?;
        let org_id = message.org_id;
        match self.store(&scope, member, None, message).await {
            Err(refused) if matches!(refused, Error::UnknownChat(_)) || refused.is_read_only() => {
                // A member who has left the organization gets NOT_FOUND of the organization, and a suspended
                // one MEMBER_SUSPENDED, as from every other RPC.
                self.context
                    .reader(self.context.db.conn(), caller, org_id)
                    .await?;
                Err(refused)
            }
            other => other,
        }
    }

    pub(super) async fn store(
        &self,
        scope: &OrgScope,
        member: MemberId,
        service: Option<String>,
        message: Message,
    ) -> Result<Stored, Error> {
        let (chat_id, request_id) = (message.to, message.request_id);
        match self.writer.send(scope, member, service, message).await? {
            Outcome::Stored(stored) => Ok(stored),
            Outcome::Refused(Refused::NeverParticipated | Refused::HasLeft) => {
                Err(Error::UnknownChat(chat_id))
            }
            Outcome::Refused(Refused::MayOnlyRead) => Err(Error::may_not_post()),
            Outcome::Refused(Refused::Closed) => {
                let chat = find_chat(self.context.db.conn(), scope, chat_id).await?;
                Err(match chat {
                    Some(chat) if chat.archive_time.is_none() => Error::unsupervised(chat_id),
                    _ => Error::archived(chat_id),
                })
            }
            Outcome::RequestIdReused => Err(Error::request_id_reused(request_id)),
        }
    }
}
