use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_edge::Mutation;
use parta_ids::{ChatId, MemberId, OrgId};
use parta_status::{RpcError, invalid};

use crate::{
    chats::load_present,
    context::Context,
    entries::{ChatMembership, move_read_mark},
    error::Error,
};

/// Moves the read mark of the caller forward.
pub(crate) struct MarkRead {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) seq: i64,
}

/// The scope of the act and the participant whose mark moves.
pub(crate) struct Grant {
    scope: OrgScope,
    member: MemberId,
    membership: ChatMembership,
}

/// The mark after the act.
pub(crate) struct ReadMark {
    pub(crate) read_seq: i64,
    pub(crate) unread_count: i64,
}

impl Mutation for MarkRead {
    type Context = Context;
    type Grant = Grant;
    type Outcome = ();
    type View = ReadMark;
    type Error = Error;

    async fn authorize(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<Grant, Error> {
        let (scope, member) = context.reader(tx, caller, self.org_id).await?;
        let membership = load_present(tx, &scope, member, self.chat_id).await?;
        Ok(Grant {
            scope,
            member,
            membership,
        })
    }

    async fn act(&self, _: &Context, tx: &Tx, caller: &Caller, grant: &Grant) -> Result<(), Error> {
        if self.seq > grant.membership.chat.head_seq {
            let refusal: RpcError = invalid("seq", "must be at most the head of the chat");
            return Err(refusal.into());
        }
        move_read_mark(tx, &grant.scope, self.chat_id, grant.member, self.seq).await?;
        let (org, chat, member) = (self.org_id, self.chat_id, grant.member);
        let object = format!("organizations/{org}/chats/{chat}/participants/{member}");
        parta_audit::record(tx, caller, Some(org), object).await?;
        Ok(())
    }

    async fn view(&self, _: &Context, _: &Tx, grant: &Grant, (): &()) -> Result<ReadMark, Error> {
        // The row was read before the act; a mark never moves back.
        let read_seq = grant.membership.participant.read_seq.max(self.seq);
        Ok(ReadMark {
            read_seq,
            unread_count: grant.membership.chat.head_seq - read_seq,
        })
    }
}
