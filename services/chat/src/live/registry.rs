use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

use parta_ids::{ChatId, MemberId, OrgId};
use tokio::time::Instant;

use super::{
    LiveEntry, LiveKind,
    fanout::{FANOUT_THRESHOLD_SUBSCRIBERS, FanoutScheduler, Step, Taken},
    queue::QueueSender,
    recent::RecentEntries,
};

/// So many bytes of the last entries are kept for streams that come back.
const RECENT: usize = 8 * 1024 * 1024;

/// Which stream hears of which chat.
pub(super) struct SubscriptionRegistry {
    /// What went by last.
    pub(super) recent: RecentEntries,
    fanout: FanoutScheduler,
    /// Whether a sweep has begun of which nobody was told.
    begun: bool,
    last_id: u64,
    streams: HashMap<u64, Route>,
    chats: HashMap<(OrgId, ChatId), BTreeSet<u64>>,
    members: HashMap<(OrgId, MemberId), BTreeSet<u64>>,
}

struct Route {
    org_id: OrgId,
    member_id: MemberId,
    outlet: QueueSender,
    /// A few, each once.
    chats: Vec<ChatId>,
}

impl SubscriptionRegistry {
    /// `queue` is how many entries may wait for one stream.
    pub(super) fn new(queue: usize) -> Self {
        Self {
            recent: RecentEntries::new(RECENT),
            fanout: FanoutScheduler::new(queue),
            begun: false,
            last_id: 0,
            streams: HashMap::new(),
            chats: HashMap::new(),
            members: HashMap::new(),
        }
    }

    /// Opens a stream: from here on it hears of the chats that its member comes into.
    pub(super) fn open(&mut self, org_id: OrgId, member_id: MemberId, outlet: QueueSender) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.members.entry((org_id, member_id)).or_default().insert(id);
        self.streams.insert(
            id,
            Route {
                org_id,
                member_id,
                outlet,
                chats: Vec::new(),
            },
        );
        id
    }

    /// Ends a stream; dropping its outlet tells it.
    pub(super) fn close(&mut self, id: u64) {
        let Some(route) = self.streams.remove(&id) else {
            return;
        };
        forget(&mut self.members, &(route.org_id, route.member_id), id);
        for chat in route.chats {
            forget(&mut self.chats, &(route.org_id, chat), id);
        }
    }

    /// Lets a stream hear of a chat.
    pub(super) fn attach(&mut self, id: u64, chat: ChatId) {
        if let Some(route) = self.streams.get_mut(&id)
            && self.chats.entry((route.org_id, chat)).or_default().insert(id)
        {
            route.chats.push(chat);
        }
    }

    /// Lets a stream hear no more of a chat.
    pub(super) fn detach(&mut self, id: u64, chat: ChatId) {
        if let Some(route) = self.streams.get_mut(&id) {
            route.chats.retain(|attached| *attached != chat);
            forget(&mut self.chats, &(route.org_id, chat), id);
        }
    }

    /// Hands an entry to the streams of its chat, at once or, where there are many, in a sweep. True where it was one too
    /// many for that, so that streams have to look into the database.
    pub(super) fn deliver(&mut self, entry: &Arc<LiveEntry>) -> bool {
        self.recent.push(entry);
        let at = (entry.org_id, entry.chat_id);
        if let LiveKind::Joining(member) = entry.kind {
            for id in self
                .members
                .get(&(entry.org_id, member))
                .cloned()
                .unwrap_or_default()
            {
                self.attach(id, entry.chat_id);
            }
        }
        match self.fanout.join(at, entry) {
            Taken::Yes => return false,
            Taken::Overflow => return true,
            Taken::No => {}
        }
        let Some(ids) = self.chats.get(&at) else {
            return false;
        };
        let ids: Vec<u64> = ids.iter().copied().collect();
        if ids.len() > FANOUT_THRESHOLD_SUBSCRIBERS {
            self.fanout.begin(at, entry, ids, Instant::now());
            self.begun = true;
        } else {
            self.enqueue(std::slice::from_ref(entry), &ids);
        }
        false
    }

    /// Whether a sweep has begun since this was asked last.
    pub(super) fn has_begun(&mut self) -> bool {
        std::mem::take(&mut self.begun)
    }

    /// Goes a step on with the fanout, and says what comes after it: the next at once, or not before then, or not before
    /// another sweep begins.
    pub(super) fn sweep(&mut self) -> ControlFlow<Option<Instant>> {
        let chats = &self.chats;
        let listeners = |at: &_| chats.get(at).into_iter().flatten().copied().collect();
        match self.fanout.step(Instant::now(), listeners) {
            Step::Hand(entries, streams) => {
                self.enqueue(&entries, &streams);
                ControlFlow::Continue(())
            }
            Step::Wait(until) => ControlFlow::Break(Some(until)),
            Step::Rest => ControlFlow::Break(None),
        }
    }

    /// Hands entries to streams. One whose queue is full is closed: it is cut off, not waited for.
    fn enqueue(&mut self, entries: &[Arc<LiveEntry>], ids: &[u64]) {
        for id in ids {
            if self
                .streams
                .get(id)
                .is_some_and(|route| !route.outlet.put(entries))
            {
                self.close(*id);
            }
        }
    }
}

fn forget<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<u64>>, key: &K, id: u64) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
