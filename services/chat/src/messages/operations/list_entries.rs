use parta_access::Caller;
use parta_edge::{Page, PageRequest};
use parta_ids::{ChatId, OrgId};
use sea_orm::ConnectionTrait;

use super::MessageService;
use crate::{
    chats::{Readable, load_readable_at_once},
    entries::{self, Entry, Reader},
    error::Error,
};

/// A page of the log of a chat.
pub(crate) struct ListEntries {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    /// List the entries after this sequence number, oldest first. `None` lists all, newest first.
    pub(crate) after_seq: Option<i64>,
    pub(crate) page: PageRequest,
}

impl MessageService {
    /// Lists entries that the caller may read, and returns the caller as their reader. Takes two statements
    /// outside a transaction in the usual case.
    pub(crate) async fn list_entries(
        &self,
        caller: &Caller,
        list: &ListEntries,
    ) -> Result<(Page<Entry>, Reader), Error> {
        let db = &self.context.db;
        let from: Option<i64> = list.page.after(db, caller)?;
        // The two statements read different snapshots: the first decides up to which entry the caller may
        // read, so that an entry after a later removal is not shown.
        let (mut entries, mut reader, complete) = self.read(db.conn(), caller, list, from).await?;
        if !complete {
            // Sequence numbers have no gap: the missing entries were archived between the two statements.
            let read = |tx| async move { self.read(&tx, caller, list, from).await };
            (entries, reader, _) = db.read(read).await?;
        }
        Ok((list.page.page(db, caller, entries, |entry| entry.seq), reader))
    }

    /// Reads up to one entry more than the page has, and returns their reader and whether the result has no
    /// gap. `from` is the sequence number at which the page before ended.
    async fn read(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        list: &ListEntries,
        from: Option<i64>,
    ) -> Result<(Vec<Entry>, Reader, bool), Error> {
        let limit = list.page.limit();
        let (scope, readable) =
            load_readable_at_once(&self.context, conn, caller, list.org_id, list.chat_id).await?;
        let Readable {
            membership,
            after: hidden,
            upto,
        } = readable;
        let (range, newest_first) = match list.after_seq {
            Some(after) => ((from.unwrap_or(after).max(hidden), upto), false),
            None => ((hidden, from.map_or(upto, |seq| upto.min(seq - 1))), true),
        };
        let found = entries::list_entries(conn, &scope, membership.log(), range, newest_first, limit).await?;
        let expected = u64::try_from(range.1 - range.0).unwrap_or(0).min(limit);
        let numbers = found.iter().map(|entry| entry.seq);
        let complete = found.len() as u64 == expected
            && if newest_first {
                numbers.eq((range.0 + 1..=range.1).rev().take(found.len()))
            } else {
                numbers.eq((range.0 + 1..=range.1).take(found.len()))
            };
        let reader = entries::reader_of(conn, &self.context.roster, &membership, &found).await?;
        Ok((found, reader, complete))
    }
}
