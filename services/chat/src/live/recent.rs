use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parta_ids::{ChatId, OrgId};

use super::LiveEntry;

type At = (OrgId, ChatId);

/// The last entries that went by, whoever listened: what most streams that come back have missed. Of each chat they are
/// without a gap, up to the last one that this replica heard of.
pub(super) struct RecentEntries {
    chats: HashMap<At, VecDeque<Arc<LiveEntry>>>,
    /// Oldest first; those of them that a chat has dropped already are passed over.
    order: VecDeque<(At, i64)>,
    bytes: usize,
    limit: usize,
    /// How many have ever gone by.
    passed: u64,
}

impl RecentEntries {
    /// Keeps entries up to so many bytes of responses.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            chats: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            limit,
            passed: 0,
        }
    }

    /// Notes an entry that is handed on.
    pub(super) fn push(&mut self, entry: &Arc<LiveEntry>) {
        self.passed += 1;
        let at = (entry.org_id, entry.chat_id);
        let log = self.chats.entry(at).or_default();
        match log.back().map(|last| last.seq) {
            Some(last) if entry.seq <= last => return,
            // One is missing here: what is before it is worth nothing.
            Some(last) if entry.seq > last + 1 => {
                self.bytes -= log.drain(..).map(|entry| size(&entry)).sum::<usize>();
            }
            _ => {}
        }
        log.push_back(entry.clone());
        self.order.push_back((at, entry.seq));
        self.bytes += size(entry);
        // The order must not grow by what chats have dropped: there are never more entries than that.
        while self.bytes > self.limit || self.order.len() > self.limit / AROUND {
            let Some((at, seq)) = self.order.pop_front() else {
                return;
            };
            self.drop_first(at, seq);
        }
    }

    fn drop_first(&mut self, at: At, seq: i64) {
        let Some(log) = self.chats.get_mut(&at) else {
            return;
        };
        if log.front().is_some_and(|first| first.seq == seq)
            && let Some(first) = log.pop_front()
        {
            self.bytes -= size(&first);
        }
        if log.is_empty() {
            self.chats.remove(&at);
        }
    }

    /// How many have ever gone by, for [`RecentEntries::after_look`].
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// Whether a chat has an entry after `head`, which was read from the database after `passed` was; true as well where
    /// that cannot be told any more.
    pub(super) fn after_look(&self, at: At, head: i64, passed: u64) -> bool {
        let since = self.passed - passed;
        match self.chats.get(&at).and_then(VecDeque::back) {
            Some(last) => last.seq > head,
            None => since > self.order.len() as u64,
        }
    }

    /// The entries of a chat after a place; none where the next one is not here.
    pub(super) fn after(&self, at: At, seq: i64) -> Option<Vec<Arc<LiveEntry>>> {
        let log = self.chats.get(&at)?;
        let first = log.front()?.seq;
        let skip = usize::try_from(seq + 1 - first).ok()?;
        (skip < log.len()).then(|| log.range(skip..).cloned().collect())
    }
}

/// What is kept around the response of an entry, in bytes.
const AROUND: usize = 256;

/// What an entry counts for.
fn size(entry: &LiveEntry) -> usize {
    entry.response.size + AROUND
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use parta_ids::{TypedId, Uuid};
    use proptest::prelude::*;

    use super::{
        super::{LiveKind, Response},
        *,
    };

    fn at(chat: u8) -> At {
        (
            OrgId::from_uuid(Uuid::nil()),
            ChatId::from_uuid(Uuid::from_bytes([chat; 16])),
        )
    }

    fn entry(chat: u8, seq: i64, bytes: usize) -> Arc<LiveEntry> {
        let (org_id, chat_id) = at(chat);
        Arc::new(LiveEntry {
            org_id,
            chat_id,
            seq,
            kind: LiveKind::Message,
            response: Response::encoded(vec![0; bytes].into()),
        })
    }

    proptest! {
        /// Whatever is lost, repeated or pushed out: what is answered is without a gap and goes up to the last heard of.
        #[test]
        fn what_is_answered_has_no_gap(steps in prop::collection::vec((0_u8..4, 1_i64..4, 0_usize..600), 1..300)) {
            let mut recent = RecentEntries::new(8_000);
            let mut heads: BTreeMap<u8, i64> = BTreeMap::new();
            for (chat, step, bytes) in steps {
                // 1 goes on, 2 repeats the last one, 3 leaves one out.
                let head = heads.entry(chat).or_default();
                let seq = match step { 1 => *head + 1, 2 => (*head).max(1), _ => *head + 2 };
                *head = (*head).max(seq);
                recent.push(&entry(chat, seq, bytes));
                prop_assert!(recent.bytes <= 8_000 && recent.order.len() <= 8_000 / AROUND);
                for (chat, head) in &heads {
                    for after in 0..*head {
                        let Some(found) = recent.after(at(*chat), after) else { continue };
                        let found: Vec<i64> = found.iter().map(|entry| entry.seq).collect();
                        prop_assert_eq!(found, (after + 1..=*head).collect::<Vec<_>>());
                    }
                    prop_assert!(recent.after(at(*chat), *head).is_none());
                }
            }
            let kept: usize = recent.chats.values().flatten().map(|entry| size(entry)).sum();
            prop_assert_eq!(kept, recent.bytes);
        }

        /// An entry that went by between a look at the database and the question is never overlooked.
        #[test]
        fn what_went_by_since_the_look_is_told(before in 0_usize..40, since in prop::collection::vec(0_u8..3, 0..60)) {
            let mut recent = RecentEntries::new(4_000);
            let mut heads = [0_i64; 3];
            for n in 0..before {
                let chat = n % 3;
                heads[chat] += 1;
                recent.push(&entry(chat as u8, heads[chat], 300));
            }
            let (looked, passed) = (heads, recent.passed());
            for chat in since {
                heads[usize::from(chat)] += 1;
                recent.push(&entry(chat, heads[usize::from(chat)], 300));
            }
            for chat in 0..3 {
                if heads[chat] > looked[chat] {
                    prop_assert!(recent.after_look(at(chat as u8), looked[chat], passed));
                }
            }
        }
    }
}
