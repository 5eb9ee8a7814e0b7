use parta_access::{Caller, OrgScope, belongs};
use parta_ids::MemberId;
use parta_roster::Roster;

use super::MessageService;
use crate::{
    context::active_scope,
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
        self.offer(caller, &scope, member, None, message).await?
    }

    /// Stores a message for a member, or returns the refusal of the chat. A member who has left the
    /// organization gets NOT_FOUND of the organization, and a suspended one MEMBER_SUSPENDED, as from every
    /// other RPC.
    pub(super) async fn offer(
        &self,
        caller: &Caller,
        scope: &OrgScope,
        member: MemberId,
        service: Option<String>,
        message: Message,
    ) -> Result<Result<Stored, Error>, Error> {
        let (org_id, chat_id, request_id) = (message.org_id, message.to, message.request_id);
        let (refused, state) = match self.writer.send(scope, member, service, message).await? {
            Outcome::Stored(stored) => return Ok(Ok(stored)),
            Outcome::RequestIdReused => return Err(Error::request_id_reused(request_id)),
            Outcome::Refused(refused, state) => (refused, state),
        };
        active_scope(caller, org_id, Roster::found_state(state)?)?;
        Ok(Err(match refused {
            Refused::NeverParticipated | Refused::HasLeft => Error::UnknownChat(chat_id),
            Refused::MayOnlyRead => Error::may_not_post(),
            Refused::Closed => match find_chat(self.context.db.conn(), scope, chat_id).await? {
                Some(chat) if chat.archive_time.is_none() => Error::unsupervised(chat_id),
                _ => Error::archived(chat_id),
            },
        }))
    }
}
