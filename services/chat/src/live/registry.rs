use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

use parta_ids::{ChatId, MemberId, OrgId};
use tokio::time::Instant;

use super::{
    LiveEntry, LiveKind,
    fanout::{Appended, FANOUT_THRESHOLD_SUBSCRIBERS, FanoutScheduler, Step},
    queue::QueueSender,
    recent::RecentEntries,
};

/// Size limit, in bytes, of the recent-entry cache used by reconnecting streams.
const RECENT_ENTRIES_MAX_BYTES: usize = 8 * 1024 * 1024;

/// The streams of this replica and the chats that each subscribes to.
pub(super) struct SubscriptionRegistry {
    pub(super) recent: RecentEntries,
    fanout: FanoutScheduler,
    /// Whether a pass has begun since [`SubscriptionRegistry::take_pass_begun`].
    pass_begun: bool,
    last_id: u64,
    streams: HashMap<u64, Subscriber>,
    chats: HashMap<(OrgId, ChatId), BTreeSet<u64>>,
    members: HashMap<(OrgId, MemberId), BTreeSet<u64>>,
}

struct Subscriber {
    org_id: OrgId,
    member_id: MemberId,
    sender: QueueSender,
    /// Each chat once. A list, because a stream has few.
    chats: Vec<ChatId>,
}

impl SubscriptionRegistry {
    /// `queue_capacity` is the number of entries that the queue of one stream holds.
    pub(super) fn new(queue_capacity: usize) -> Self {
        Self {
            recent: RecentEntries::new(RECENT_ENTRIES_MAX_BYTES),
            fanout: FanoutScheduler::new(queue_capacity),
            pass_begun: false,
            last_id: 0,
            streams: HashMap::new(),
            chats: HashMap::new(),
            members: HashMap::new(),
        }
    }

    /// Adds a stream. From now on it is attached to each chat that its member joins.
    pub(super) fn open(&mut self, org_id: OrgId, member_id: MemberId, sender: QueueSender) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.members.entry((org_id, member_id)).or_default().insert(id);
        self.streams.insert(
            id,
            Subscriber {
                org_id,
                member_id,
                sender,
                chats: Vec::new(),
            },
        );
        id
    }

    /// Removes a stream. Dropping its sender closes the queue, which ends the stream.
    pub(super) fn close(&mut self, id: u64) {
        let Some(subscriber) = self.streams.remove(&id) else {
            return;
        };
        remove_id(&mut self.members, &(subscriber.org_id, subscriber.member_id), id);
        for chat in subscriber.chats {
            remove_id(&mut self.chats, &(subscriber.org_id, chat), id);
        }
    }

    /// Subscribes a stream to a chat.
    pub(super) fn attach(&mut self, id: u64, chat: ChatId) {
        if let Some(subscriber) = self.streams.get_mut(&id)
            && self
                .chats
                .entry((subscriber.org_id, chat))
                .or_default()
                .insert(id)
        {
            subscriber.chats.push(chat);
        }
    }

    /// Unsubscribes a stream from a chat.
    pub(super) fn detach(&mut self, id: u64, chat: ChatId) {
        if let Some(subscriber) = self.streams.get_mut(&id) {
            subscriber.chats.retain(|attached| *attached != chat);
            remove_id(&mut self.chats, &(subscriber.org_id, chat), id);
        }
    }

    /// Enqueues an entry for the streams of its chat, at once or, if there are many, in a fan-out pass.
    /// Returns true if the backlog of the chat overflowed, so that streams must read from the database.
    pub(super) fn deliver(&mut self, entry: &Arc<LiveEntry>) -> bool {
        self.recent.push(entry);
        let key = (entry.org_id, entry.chat_id);
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
        match self.fanout.append(key, entry) {
            Appended::Queued => return false,
            Appended::Overflow => return true,
            Appended::Inactive => {}
        }
        let Some(ids) = self.chats.get(&key) else {
            return false;
        };
        let ids: Vec<u64> = ids.iter().copied().collect();
        if ids.len() > FANOUT_THRESHOLD_SUBSCRIBERS {
            self.fanout.begin(key, entry, ids, Instant::now());
            self.pass_begun = true;
        } else {
            self.enqueue(std::slice::from_ref(entry), &ids);
        }
        false
    }

    /// Returns whether a pass has begun since the last call.
    pub(super) fn take_pass_begun(&mut self) -> bool {
        std::mem::take(&mut self.pass_begun)
    }

    /// Runs one step of the fan-out. Returns `Continue` if another step can run at once, otherwise `Break`
    /// with the time of the next step, or with `None` if there is none until a pass begins.
    pub(super) fn step_fanout(&mut self) -> ControlFlow<Option<Instant>> {
        let chats = &self.chats;
        let subscribers = |key: &_| chats.get(key).into_iter().flatten().copied().collect();
        match self.fanout.step(Instant::now(), subscribers) {
            Step::Deliver(entries, streams) => {
                self.enqueue(&entries, &streams);
                ControlFlow::Continue(())
            }
            Step::Wait(until) => ControlFlow::Break(Some(until)),
            Step::Idle => ControlFlow::Break(None),
        }
    }

    /// Enqueues entries for streams. A stream whose queue is full is closed, so that it delays nobody.
    fn enqueue(&mut self, entries: &[Arc<LiveEntry>], ids: &[u64]) {
        for id in ids {
            if self
                .streams
                .get(id)
                .is_some_and(|subscriber| !subscriber.sender.enqueue(entries))
            {
                self.close(*id);
            }
        }
    }
}

fn remove_id<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<u64>>, key: &K, id: u64) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
