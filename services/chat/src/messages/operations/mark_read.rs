use parta_access::Caller;
use parta_ids::{ChatId, MemberId, OrgId, TypedId as _};
use parta_status::{RpcError, invalid};

use super::MessageService;
use crate::{
    chats::{Readable, load_readable_at_once},
    entries::{count_unread, move_read_mark},
    error::Error,
};

/// Moves the read mark of the caller forward.
pub(crate) struct MarkRead {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) seq: i64,
}

/// The mark after the act.
pub(crate) struct ReadMark {
    pub(crate) read_seq: i64,
    pub(crate) unread_count: i64,
}

impl MessageService {
    /// Moves the read mark of the caller forward. The mark never moves back, so a repetition has no effect
    /// and needs no record. One statement authorizes and reads, another one writes one row; a mark that is
    /// not after the present one writes nothing. A third one counts what is unread, if the mark is not the
    /// head.
    pub(crate) async fn mark_read(&self, caller: &Caller, mark: &MarkRead) -> Result<ReadMark, Error> {
        let db = &self.context.db;
        let (scope, readable) =
            load_readable_at_once(&self.context, db.conn(), caller, mark.org_id, mark.chat_id).await?;
        let Readable {
            mut membership,
            after,
            ..
        } = readable;
        let (chat, participant) = (&membership.chat, &membership.participant);
        if participant.left_seq.is_some() {
            return Err(Error::UnknownChat(mark.chat_id));
        }
        if mark.seq > chat.head_seq {
            let refusal: RpcError = invalid("seq", "must be at most the head of the chat");
            return Err(refusal.into());
        }
        if mark.seq > participant.read_seq {
            let member = MemberId::from_uuid(participant.member_id);
            move_read_mark(db, &scope, mark.chat_id, member, mark.seq).await?;
        }
        let read_seq = participant.read_seq.max(mark.seq);
        membership.participant.read_seq = read_seq;
        let unread = count_unread(db.conn(), &scope, [&membership.read_upto(after)]).await?;
        Ok(ReadMark {
            read_seq,
            unread_count: unread.into_values().sum(),
        })
    }
}
