//! Compares what the streams of this replica have with the database, for all streams at once: after entries
//! may have been lost, and at regular intervals. Two statements for each thousand chats and members with a
//! stream.
use std::{
    mem,
    sync::{Arc, PoisonError},
    time::Duration,
};

use parta_access::OrgScope;
use parta_database::{Db, StorageError};
use parta_ids::{ChatId, OrgId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Live, LiveEntry, LiveKind, registry::Known, scope::Scope};
use crate::entries::{self, Head, LOOKUP_MAX_ROWS};

/// At least this time is between two comparisons of a replica.
pub(super) const COMPARISON_PAUSE: Duration = Duration::from_secs(1);
/// At most this many missing entries of a chat are read for all its streams. Streams that are further behind
/// read the entries by themselves.
const REPUBLISHED_MAX_ENTRIES: i64 = 200;

type ChatKey = (OrgId, ChatId);

/// The result of the comparison of one chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// The streams have all entries. The id is that of the last one.
    Same(Head),
    /// The log has more entries, up to this head.
    Behind(Head),
    /// The log is another one: the database was restored.
    Restored(i64),
}

/// Compares the last entry that the streams of a chat have with the chat; `None` if it does not exist.
fn compare(known: Known, found: Option<Head>) -> Finding {
    let Some(head) = found else {
        return Finding::Restored(0);
    };
    let other_entry = match (known.entry_id, head.entry_id) {
        (Some(known), Some(found)) => known != found,
        // An entry that is neither in the log nor in the archive.
        (_, None) => known.seq > head.archived_seq,
        (None, Some(_)) => false,
    };
    if head.seq < known.seq || (known.seq > 0 && other_entry) {
        Finding::Restored(head.seq)
    } else if head.seq > known.seq || !known.is_certain {
        Finding::Behind(head)
    } else {
        Finding::Same(head)
    }
}

impl Live {
    /// Requests a comparison. It runs within [`COMPARISON_PAUSE`].
    pub(super) fn request_comparison(&self, scope: Scope) {
        let mut requested = self.0.requested.lock().unwrap_or_else(PoisonError::into_inner);
        requested.extend(scope);
        drop(requested);
        self.0.comparison_requested.notify_one();
    }

    /// Compares when it is requested, and after each `interval`, until canceled.
    pub(crate) async fn run_comparisons(
        &self,
        db: &Db,
        interval: Duration,
        cancel: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut regular = Instant::now() + interval;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = self.0.comparison_requested.notified() => {}
                () = tokio::time::sleep_until(regular) => self.request_comparison(Scope::All),
            }
            let scope = {
                let mut requested = self.0.requested.lock().unwrap_or_else(PoisonError::into_inner);
                mem::take(&mut *requested)
            };
            let begin = Instant::now();
            if scope == Scope::All {
                regular = begin + interval;
            }
            if let Err(error) = self.compare(db, &scope).await {
                // A database that fails may be restored meanwhile. The comparison is repeated until it
                // succeeds.
                tracing::debug!(%error, "failed to compare the streams with the database");
                self.request_comparison(Scope::All);
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep_until(begin + COMPARISON_PAUSE) => {}
            }
        }
    }

    /// Compares the chats and the members with a stream. The database is read after the registry, so that the
    /// registry is never ahead of it, unless the database was restored.
    async fn compare(&self, db: &Db, scope: &Scope) -> Result<(), StorageError> {
        let (chats, members) = self.registry().subscribed(scope);
        for page in chats.chunks(LOOKUP_MAX_ROWS) {
            let wanted: Vec<_> = page
                .iter()
                .map(|((org, chat), known)| (*org, *chat, known.seq))
                .collect();
            let heads = entries::find_heads(db.conn(), &wanted).await?;
            for (chat, known) in page {
                self.act_on(db, *chat, *known, compare(*known, heads.get(chat).copied()))
                    .await?;
            }
        }
        for page in members.chunks(LOOKUP_MAX_ROWS) {
            let wanted: Vec<_> = page.iter().map(|(member, _)| *member).collect();
            let counts = entries::count_chats(db.conn(), &wanted).await?;
            let mut registry = self.registry();
            for (member, before) in page {
                let count = counts.get(member).copied().unwrap_or_default();
                registry.check_chats(*member, before, count);
            }
        }
        Ok(())
    }

    async fn act_on(
        &self,
        db: &Db,
        chat: ChatKey,
        known: Known,
        finding: Finding,
    ) -> Result<(), StorageError> {
        match finding {
            Finding::Same(head) => self.registry().learn(chat, known.seq, head.entry_id),
            Finding::Restored(head) => {
                let (org_id, chat_id) = chat;
                tracing::warn!(org.id = %org_id, chat.id = %chat_id, "the log of a chat was replaced, its streams begin again");
                self.mark(chat, head, LiveKind::Restored);
            }
            Finding::Behind(head) if known.is_certain && head.seq - known.seq <= REPUBLISHED_MAX_ENTRIES => {
                // Read once for all streams. A stream drops the entries that it has.
                let scope = OrgScope::for_consumer("chat.live", chat.0);
                let range = (known.seq, head.seq);
                let limit = REPUBLISHED_MAX_ENTRIES.unsigned_abs();
                let border = head.archived_seq;
                let missing =
                    entries::list_entries(db.conn(), &scope, (chat.1, border), range, false, limit).await?;
                let missing: Vec<_> = missing
                    .into_iter()
                    .map(|entry| Arc::new(LiveEntry::from(entry)))
                    .collect();
                self.deliver(&missing);
            }
            Finding::Behind(head) => self.mark(chat, head.seq, LiveKind::Head),
        }
        Ok(())
    }

    /// Delivers a mark to the streams of a chat.
    fn mark(&self, chat: ChatKey, seq: i64, kind: LiveKind) {
        self.deliver(&[LiveEntry::mark(chat, seq, kind)]);
    }
}
#[cfg(test)]
mod tests {
    use parta_ids::{EntryId, TypedId as _, Uuid};

    use super::*;

    fn id(n: u128) -> Option<EntryId> {
        Some(EntryId::from_uuid(Uuid::from_u128(n)))
    }

    fn known(seq: i64, entry_id: Option<EntryId>) -> Known {
        Known {
            seq,
            entry_id,
            is_certain: true,
        }
    }

    fn head(seq: i64, archived_seq: i64, entry_id: Option<EntryId>) -> Head {
        Head {
            seq,
            archived_seq,
            entry_id,
        }
    }

    #[test]
    fn restored_log_is_recognized_by_its_head_and_by_the_entry() {
        for (known, found, expected) in [
            (
                known(5, id(5)),
                head(5, 0, id(5)),
                Finding::Same(head(5, 0, id(5))),
            ),
            (
                known(5, None),
                head(5, 0, id(5)),
                Finding::Same(head(5, 0, id(5))),
            ),
            (known(0, None), head(0, 0, None), Finding::Same(head(0, 0, None))),
            (
                known(5, id(5)),
                head(7, 0, id(5)),
                Finding::Behind(head(7, 0, id(5))),
            ),
            // The entry was archived.
            (
                known(5, id(5)),
                head(7, 5, None),
                Finding::Behind(head(7, 5, None)),
            ),
            (known(5, id(5)), head(4, 0, None), Finding::Restored(4)),
            (known(5, id(5)), head(5, 0, id(6)), Finding::Restored(5)),
            (known(5, id(5)), head(9, 0, id(6)), Finding::Restored(9)),
        ] {
            assert_eq!(compare(known, Some(found)), expected);
        }
        assert_eq!(compare(known(5, id(5)), None), Finding::Restored(0));
    }

    #[test]
    fn chat_with_dropped_entries_is_behind() {
        let dropped = Known {
            is_certain: false,
            ..known(5, id(5))
        };
        let found = head(5, 0, id(5));
        assert_eq!(compare(dropped, Some(found)), Finding::Behind(found));
    }
}
