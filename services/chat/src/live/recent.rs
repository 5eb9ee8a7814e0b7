use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parta_ids::{ChatId, OrgId};

use super::LiveEntry;

type ChatKey = (OrgId, ChatId);

/// The last entries that this replica published or received, which are what most reconnecting streams have
/// missed. The entries of a chat have no gap and end with the last one that the replica knows.
pub(super) struct RecentEntries {
    chats: HashMap<ChatKey, Log>,
    /// Oldest first. May name entries that `chats` no longer has.
    order: VecDeque<(ChatKey, i64)>,
    bytes: usize,
    max_bytes: usize,
    /// The number of entries ever pushed.
    pushed: u64,
}

/// The recent entries of one chat.
#[derive(Default)]
struct Log {
    entries: VecDeque<Arc<LiveEntry>>,
    /// The number of entries of all chats that had been pushed with the last one.
    pushed: u64,
}

impl Log {
    /// Whether the entry is another one than that of the log with its number: the database was restored.
    fn contradicts(&self, entry: &LiveEntry) -> bool {
        let first = self.entries.front().map_or(0, |first| first.seq);
        let index = usize::try_from(entry.seq - first).ok();
        let present = index.and_then(|index| self.entries.get(index));
        let ids = present.and_then(|present| Some((present.entry_id?, entry.entry_id?)));
        ids.is_some_and(|(present, new)| present != new)
    }
}

impl RecentEntries {
    /// Keeps entries of at most `max_bytes` in all.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            chats: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            max_bytes,
            pushed: 0,
        }
    }

    /// Adds an entry and drops the oldest ones above the limit.
    pub(super) fn push(&mut self, entry: &Arc<LiveEntry>) {
        self.pushed += 1;
        let key = (entry.org_id, entry.chat_id);
        let log = self.chats.entry(key).or_default();
        match log.entries.back().map(|last| last.seq) {
            Some(last) if entry.seq <= last && !log.contradicts(entry) => return,
            // There is a gap, or the log is another one. The entries before are of no use.
            Some(last) if entry.seq != last + 1 => {
                self.bytes -= log.entries.drain(..).map(|entry| size(&entry)).sum::<usize>();
            }
            _ => {}
        }
        log.entries.push_back(entry.clone());
        log.pushed = self.pushed;
        self.order.push_back((key, entry.seq));
        self.bytes += size(entry);
        // `order` also names dropped entries. Its length is limited by the largest possible number of
        // entries.
        while self.bytes > self.max_bytes || self.order.len() > self.max_bytes / OVERHEAD_BYTES {
            let Some((key, seq)) = self.order.pop_front() else {
                return;
            };
            self.evict(key, seq);
        }
    }

    fn evict(&mut self, key: ChatKey, seq: i64) {
        let Some(log) = self.chats.get_mut(&key) else {
            return;
        };
        if log.entries.front().is_some_and(|first| first.seq == seq)
            && let Some(first) = log.entries.pop_front()
        {
            self.bytes -= size(&first);
        }
        if log.entries.is_empty() {
            self.chats.remove(&key);
        }
    }

    /// Drops the entries of a chat, because the log is another one.
    pub(super) fn remove(&mut self, key: ChatKey) {
        let removed = self.chats.remove(&key).into_iter().flat_map(|log| log.entries);
        self.bytes -= removed.map(|entry| size(&entry)).sum::<usize>();
    }

    /// The number of entries ever pushed, for [`RecentEntries::may_have_after`].
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Whether the last entry of a chat was pushed before `pushed` was read and is after `head`, which was
    /// read from the database after that: the database was restored.
    pub(super) fn is_ahead_of(&self, key: ChatKey, head: i64, pushed: u64) -> bool {
        let Some(log) = self.chats.get(&key) else {
            return false;
        };
        log.pushed <= pushed && log.entries.back().is_some_and(|last| last.seq > head)
    }

    /// Whether a chat has an entry after `head`, which was read from the database after `pushed` was read
    /// here. Also true if the entries pushed since are no longer all present.
    pub(super) fn may_have_after(&self, key: ChatKey, head: i64, pushed: u64) -> bool {
        let since = self.pushed - pushed;
        match self.chats.get(&key).and_then(|log| log.entries.back()) {
            Some(last) => last.seq > head,
            None => since > self.order.len() as u64,
        }
    }

    /// The entries of a chat after a sequence number; `None` if the next one is not present.
    pub(super) fn after(&self, key: ChatKey, seq: i64) -> Option<Vec<Arc<LiveEntry>>> {
        let log = &self.chats.get(&key)?.entries;
        let first = log.front()?.seq;
        let skip = usize::try_from(seq + 1 - first).ok()?;
        (skip < log.len()).then(|| log.range(skip..).cloned().collect())
    }
}

/// Memory that an entry takes besides its response, in bytes.
const OVERHEAD_BYTES: usize = 256;

/// The memory that an entry takes, in bytes.
fn size(entry: &LiveEntry) -> usize {
    entry.response.size + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use parta_ids::{EntryId, TypedId, Uuid};
    use proptest::prelude::*;

    use super::{
        super::{LiveKind, Response},
        *,
    };

    fn key(chat: u8) -> ChatKey {
        (
            OrgId::from_uuid(Uuid::nil()),
            ChatId::from_uuid(Uuid::from_bytes([chat; 16])),
        )
    }

    fn entry(chat: u8, seq: i64, bytes: usize) -> Arc<LiveEntry> {
        let (org_id, chat_id) = key(chat);
        Arc::new(LiveEntry {
            org_id,
            chat_id,
            seq,
            entry_id: Some(EntryId::from_uuid(Uuid::from_u128(1))),
            kind: LiveKind::Message,
            is_partial: false,
            response: Response::encoded(vec![0; bytes].into()),
        })
    }

    proptest! {
        /// Entries may be lost, repeated or dropped: those returned have no gap and end with the last one
        /// known.
        #[test]
        fn returned_entries_have_no_gap(steps in prop::collection::vec((0_u8..4, 1_i64..4, 0_usize..600), 1..300)) {
            let mut recent = RecentEntries::new(8_000);
            let mut heads: BTreeMap<u8, i64> = BTreeMap::new();
            for (chat, step, bytes) in steps {
                // 1 is the next entry, 2 repeats the last one, 3 skips one.
                let head = heads.entry(chat).or_default();
                let seq = match step { 1 => *head + 1, 2 => (*head).max(1), _ => *head + 2 };
                *head = (*head).max(seq);
                recent.push(&entry(chat, seq, bytes));
                prop_assert!(recent.bytes <= 8_000 && recent.order.len() <= 8_000 / OVERHEAD_BYTES);
                for (chat, head) in &heads {
                    for after in 0..*head {
                        let Some(found) = recent.after(key(*chat), after) else { continue };
                        let found: Vec<i64> = found.iter().map(|entry| entry.seq).collect();
                        prop_assert_eq!(found, (after + 1..=*head).collect::<Vec<_>>());
                    }
                    prop_assert!(recent.after(key(*chat), *head).is_none());
                }
            }
            let kept: usize = recent.chats.values().flat_map(|log| &log.entries).map(|entry| size(entry)).sum();
            prop_assert_eq!(kept, recent.bytes);
        }

        /// A restored database gives numbers again. No entry of before follows one of the restored log.
        #[test]
        fn entries_of_another_log_replace_those_of_before(before in 1_i64..20, back in 0_i64..20, after in 1_i64..20) {
            let mut recent = RecentEntries::new(80_000);
            for seq in 1..=before {
                recent.push(&entry(1, seq, 100));
            }
            let pushed = recent.pushed();
            let head = (before - back).max(0);
            prop_assert_eq!(recent.is_ahead_of(key(1), head, pushed), head < before);
            for seq in head + 1..=head + after {
                let (org_id, chat_id) = key(1);
                let new = LiveEntry {
                    org_id,
                    chat_id,
                    seq,
                    entry_id: Some(EntryId::from_uuid(Uuid::from_u128(7))),
                    kind: LiveKind::Message,
                    is_partial: false,
                    response: Response::encoded(vec![0; 100].into()),
                };
                recent.push(&Arc::new(new));
                prop_assert!(!recent.is_ahead_of(key(1), seq - 1, pushed));
            }
            let found = recent.after(key(1), head).unwrap();
            prop_assert!(found.iter().all(|entry| entry.entry_id == Some(EntryId::from_uuid(Uuid::from_u128(7)))));
            prop_assert_eq!(found.len() as i64, after);
        }

        #[test]
        fn entry_pushed_since_the_database_was_read_is_reported(before in 0_usize..40, since in prop::collection::vec(0_u8..3, 0..60)) {
            let mut recent = RecentEntries::new(4_000);
            let mut heads = [0_i64; 3];
            for n in 0..before {
                let chat = n % 3;
                heads[chat] += 1;
                recent.push(&entry(chat as u8, heads[chat], 300));
            }
            let (heads_read, pushed) = (heads, recent.pushed());
            for chat in since {
                heads[usize::from(chat)] += 1;
                recent.push(&entry(chat, heads[usize::from(chat)], 300));
            }
            for chat in 0..3 {
                if heads[chat] > heads_read[chat] {
                    prop_assert!(recent.may_have_after(key(chat as u8), heads_read[chat], pushed));
                }
            }
        }
    }
}
