use parta_access::Caller;
use parta_ids::{ChatId, OrgId};
use parta_proto::parta::chat::v1 as pb;
use parta_status::{RpcError, invalid};
use parta_storage::Mutation;

use crate::{context::App, entries::storage, error::Error};

impl App {
    /// Moves the caller's read mark forward.
    pub(crate) async fn mark_read(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        (org, chat): (OrgId, ChatId),
        seq: i64,
    ) -> Result<pb::MarkReadResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let (scope, member) = self.reader(&tx, caller, org).await?;
                let standing = self.present(&tx, &scope, member, chat).await?;
                if seq > standing.chat.head_seq {
                    let refusal: RpcError = invalid("seq", "must be at most the head of the chat");
                    return Err(refusal.into());
                }
                storage::move_read_mark(&tx, &scope, chat, member, seq).await?;
                let object = format!("organizations/{org}/chats/{chat}/participants/{member}");
                parta_audit::record(&tx, caller, Some(org), object).await?;
                let read_seq = standing.seat.read_seq.max(seq);
                let unread_count = standing.chat.head_seq - read_seq;
                Ok(pb::MarkReadResponse {
                    read_seq,
                    unread_count,
                    ..Default::default()
                })
            })
            .await
    }
}
