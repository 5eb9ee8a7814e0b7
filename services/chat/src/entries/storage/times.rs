//! Finds the sequence number of a time in a log, and decides what a participant reads by it.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_ids::{ChatId, TypedId as _};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    QueryTrait as _,
};

use super::{chat, entry};
use crate::entries::Beginning;

/// The times of the entries of one chat, whose row must have been locked. Entries are found by their sequence
/// numbers, by which their times rise as far as the clocks of the replicas agree, so that the log needs no
/// index by time. An entry is read once, whatever the number of the participants is.
pub(super) struct TimesOfLog<'a> {
    tx: &'a Tx,
    scope: &'a OrgScope,
    chat: ChatId,
    head_seq: i64,
    archived_seq: i64,
    /// The time of an entry; `None` for one that was lost.
    times: BTreeMap<i64, Option<DateTime<Utc>>>,
    found: BTreeMap<DateTime<Utc>, i64>,
}

impl<'a> TimesOfLog<'a> {
    pub(super) fn new(tx: &'a Tx, scope: &'a OrgScope, head: &chat::Model) -> Self {
        Self {
            tx,
            scope,
            chat: ChatId::from_uuid(head.chat_id),
            head_seq: head.head_seq,
            archived_seq: head.archived_seq,
            times: BTreeMap::new(),
            found: BTreeMap::new(),
        }
    }

    /// Returns the bounds of a member who joins now, and has left at `left_seq` if it is a return: the
    /// sequence number after which the member reads, and the one up to which the grounds of a family open
    /// nothing.
    pub(super) async fn bounds_of_joining(
        &mut self,
        beginning: Beginning,
        joining_after: i64,
        left_seq: Option<i64>,
    ) -> Result<(i64, i64), StorageError> {
        let returned_after = match (left_seq, beginning.family) {
            (None, _) => 0,
            // A ground that began after the leaving opens what was written since then.
            (Some(left_seq), Some(since)) => {
                let before = self.last_before(since).await?;
                if before >= left_seq { before } else { joining_after }
            }
            (Some(_), None) => joining_after,
        };
        let bounds = (joining_after, returned_after);
        Ok((self.visible_after(beginning, bounds).await?, returned_after))
    }

    /// Returns the sequence number after which a participant reads: by the wider of the two kinds of grounds,
    /// at least from the joining.
    pub(super) async fn visible_after(
        &mut self,
        beginning: Beginning,
        (joining_after, returned_after): (i64, i64),
    ) -> Result<i64, StorageError> {
        let mut after = joining_after;
        if let Some(since) = beginning.staff {
            after = after.min(self.last_before(since).await?);
        }
        if let Some(since) = beginning.family {
            after = after.min(self.last_before(since).await?.max(returned_after));
        }
        Ok(after)
    }

    /// The sequence number of the last entry before a time; 0 if there is none.
    async fn last_before(&mut self, time: DateTime<Utc>) -> Result<i64, StorageError> {
        if time <= Beginning::OF_LOG {
            return Ok(0);
        }
        if let Some(seq) = self.found.get(&time) {
            return Ok(*seq);
        }
        let (mut low, mut high) = (0, self.head_seq);
        // Most grounds began before the first or after the last entry of a small chat.
        let mut middle = high;
        while low < high {
            // An entry that was lost counts as an earlier one, so that nobody reads more because of it.
            if self.time_of(middle).await?.is_none_or(|at| at < time) {
                low = middle;
            } else {
                high = middle - 1;
            }
            middle = low + (high - low + 1) / 2;
        }
        self.found.insert(time, low);
        Ok(low)
    }

    async fn time_of(&mut self, seq: i64) -> Result<Option<DateTime<Utc>>, StorageError> {
        if let Some(time) = self.times.get(&seq) {
            return Ok(*time);
        }
        let query = entry::Entity::find()
            .select_only()
            .column(entry::Column::CreateTime)
            .filter(entry::Column::OrgId.eq(self.scope.org_id().uuid()))
            .filter(entry::Column::ChatId.eq(self.chat.uuid()))
            .filter(entry::Column::Seq.eq(seq));
        let mut query = query.into_query();
        if seq <= self.archived_seq {
            query.from_clear().from_as("entry_archive", entry::Entity);
        }
        let statement = self.tx.get_database_backend().build(&query);
        let row = self.tx.query_one_raw(statement).await?;
        let time = row.map(|row| row.try_get_by_index(0)).transpose()?;
        self.times.insert(seq, time);
        Ok(time)
    }
}
