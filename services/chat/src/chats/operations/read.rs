//! Reads of chat.
use parta_access::{Caller, OrgScope, authorize};
use parta_ids::{ChatId, MemberId, OrgId, TypedId};
use parta_proto::parta::chat::v1 as pb;
use parta_storage::{StorageError, page_size};
use sea_orm::ConnectionTrait;

use crate::{
    chats::{grpc::convert, policy},
    context::App,
    entries::{
        model::ChatKind,
        storage::{self, ChatMembership, EntryRow},
    },
    error::Error,
};

impl App {
    /// A chat as one member sees it.
    pub(crate) async fn view(
        &self,
        conn: &impl ConnectionTrait,
        scope: &OrgScope,
        standing: &ChatMembership,
    ) -> Result<pb::Chat, StorageError> {
        let kind = standing.kind()?;
        let peer = if kind == ChatKind::Direct {
            storage::find_peer(conn, scope, standing).await?
        } else {
            None
        };
        Ok(convert::chat(kind, standing, peer))
    }

    /// One chat.
    pub(crate) async fn get_chat(
        &self,
        caller: &Caller,
        org: OrgId,
        chat: ChatId,
    ) -> Result<pb::Chat, Error> {
        let conn = self.db.conn();
        let (scope, standing, _) = self.reading(conn, caller, org, chat).await?;
        Ok(self.view(conn, &scope, &standing).await?)
    }

    /// The chats of the caller.
    pub(crate) async fn list_chats(
        &self,
        caller: &Caller,
        org: OrgId,
        (size, token): (i32, &str),
    ) -> Result<pb::ListChatsResponse, Error> {
        let conn = self.db.conn();
        let (scope, member) = self.reader(conn, caller, org).await?;
        let filter = org.to_string();
        let before: Option<ChatId> = self.db.decode_page(caller, &filter, token)?;
        let size = page_size(size)?;
        let mut page = storage::list_chats_of(conn, &scope, member, before, size + 1).await?;
        let more = page.len() as u64 > size;
        page.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let next_page_token = match page.last() {
            Some(last) if more => self.db.encode_page(caller, &filter, &last.chat_id()),
            _ => String::new(),
        };
        let peers = storage::find_peers(conn, &scope, member, &page).await?;
        let chats = page
            .iter()
            .map(|standing| {
                Ok(convert::chat(
                    standing.kind()?,
                    standing,
                    peers.get(&standing.chat_id()).copied(),
                ))
            })
            .collect::<Result<_, StorageError>>()?;
        Ok(pb::ListChatsResponse {
            chats,
            next_page_token,
        })
    }

    /// Who is in a chat.
    pub(crate) async fn list_participants(
        &self,
        caller: &Caller,
        (org, chat): (OrgId, ChatId),
        (size, token): (i32, &str),
    ) -> Result<pb::ListParticipantsResponse, Error> {
        let conn = self.db.conn();
        let facts = self.facts(conn, caller, org).await?;
        let scope = authorize(caller, org, policy::take_part(facts.state))?;
        let standing = self.present(conn, &scope, facts.member_id, chat).await?;
        let scope = authorize(caller, org, policy::list_participants(&facts, standing.kind()?))?;
        let filter = chat.to_string();
        let after: Option<MemberId> = self.db.decode_page(caller, &filter, token)?;
        let size = page_size(size)?;
        let mut page = storage::list_participants(conn, &scope, chat, after, size + 1).await?;
        let more = page.len() as u64 > size;
        page.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let next_page_token = match page.last() {
            Some(last) if more => self
                .db
                .encode_page(caller, &filter, &MemberId::from_uuid(last.member_id)),
            _ => String::new(),
        };
        Ok(pb::ListParticipantsResponse {
            participants: page.iter().map(convert::participant).collect(),
            next_page_token,
        })
    }

    /// The log of a chat.
    pub(crate) async fn list_entries(
        &self,
        caller: &Caller,
        (org, chat): (OrgId, ChatId),
        after_seq: Option<i64>,
        (size, token): (i32, &str),
    ) -> Result<pb::ListEntriesResponse, Error> {
        let filter = format!("{chat} {after_seq:?}");
        let from: Option<i64> = self.db.decode_page(caller, &filter, token)?;
        let size = page_size(size)?;
        let at = (org, chat);
        let range = (from, after_seq);
        // Two reads of two moments: what the first allows ends where the log ended then, so a removal since shows nothing.
        let (mut page, whole) = self.log(self.db.conn(), caller, at, range, size + 1).await?;
        if !whole {
            // Places are gapless: what is not there was moved to the archive between the two.
            let read = |tx| async move { self.log(&tx, caller, at, range, size + 1).await };
            page = self.db.read(read).await?.0;
        }
        let more = page.len() as u64 > size;
        page.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let next_page_token = match page.last() {
            Some(last) if more => self.db.encode_page(caller, &filter, &last.seq),
            _ => String::new(),
        };
        Ok(pb::ListEntriesResponse {
            entries: page.into_iter().map(Into::into).collect(),
            next_page_token,
        })
    }

    /// Up to `limit` entries of a chat: after a place, oldest first, or without one the newest, newest first; `from` is
    /// where the page before ended. And whether that is all there was.
    async fn log(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        (org, chat): (OrgId, ChatId),
        (from, after_seq): (Option<i64>, Option<i64>),
        limit: u64,
    ) -> Result<(Vec<EntryRow>, bool), Error> {
        let (scope, standing, upto) = self.reading(conn, caller, org, chat).await?;
        let (range, newest_first) = match after_seq {
            Some(after) => ((from.unwrap_or(after), upto), false),
            None => ((0, from.map_or(upto, |seq| upto.min(seq - 1))), true),
        };
        let page = storage::list_log(conn, &scope, &standing.chat, range, newest_first, limit).await?;
        let there = u64::try_from(range.1 - range.0).unwrap_or(0).min(limit);
        let places = page.iter().map(|entry| entry.seq);
        let whole = page.len() as u64 == there
            && if newest_first {
                places.eq((range.0 + 1..=range.1).rev().take(page.len()))
            } else {
                places.eq((range.0 + 1..=range.1).take(page.len()))
            };
        Ok((page, whole))
    }
}
