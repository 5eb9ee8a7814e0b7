use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

use parta_ids::{ChatId, EntryId, MemberId, OrgId, TypedId as _, Uuid};
use tokio::time::Instant;

use super::{
    LiveEntry, LiveKind,
    fanout::{Appended, FANOUT_THRESHOLD_SUBSCRIBERS, FanoutScheduler, Step},
    queue::QueueSender,
    recent::RecentEntries,
    scope::Scope,
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
    chats: HashMap<ChatKey, ChatSubscribers>,
    members: HashMap<(OrgId, MemberId), BTreeSet<u64>>,
}

type ChatKey = (OrgId, ChatId);

struct ChatSubscribers {
    streams: BTreeSet<u64>,
    known: Known,
}

/// The last entry of a chat that all its streams have or will get: from their queues, or because they read
/// what is missing before a later entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) seq: i64,
    /// `None` until it was read from the database, if no entry was delivered yet.
    pub(super) entry_id: Option<EntryId>,
    /// Whether the streams have all entries up to this one. Otherwise entries were dropped, and nothing is
    /// known but that each stream has a cursor of its own.
    pub(super) is_certain: bool,
}

/// The chats that have a stream, each with the last entry that its streams have, and the members that have a
/// stream, each with the numbers of chats of its streams.
pub(super) type Subscribed = (
    Vec<(ChatKey, Known)>,
    Vec<((OrgId, MemberId), HashMap<u64, usize>)>,
);

struct Subscriber {
    org_id: OrgId,
    member_id: MemberId,
    sender: QueueSender,
    /// Each chat once. A list, because a stream has few.
    chats: Vec<ChatId>,
    /// Whether the mark [`LiveKind::Chats`] is in the queue.
    check_is_queued: bool,
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
                check_is_queued: false,
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
            self.remove_stream((subscriber.org_id, chat), id);
        }
    }

    /// Subscribes a stream to a chat. `head` is the last entry that the stream has or reads by itself.
    pub(super) fn attach(&mut self, id: u64, chat: ChatId, head: i64) {
        let Some(subscriber) = self.streams.get_mut(&id) else {
            return;
        };
        // The other streams may have less than this one.
        let subscribers = self
            .chats
            .entry((subscriber.org_id, chat))
            .or_insert_with(|| ChatSubscribers {
                streams: BTreeSet::new(),
                known: Known {
                    seq: head,
                    entry_id: None,
                    is_certain: true,
                },
            });
        if subscribers.streams.insert(id) {
            subscriber.chats.push(chat);
        }
    }

    /// Unsubscribes a stream from a chat.
    pub(super) fn detach(&mut self, id: u64, chat: ChatId) {
        if let Some(subscriber) = self.streams.get_mut(&id) {
            subscriber.chats.retain(|attached| *attached != chat);
            let key = (subscriber.org_id, chat);
            self.remove_stream(key, id);
        }
    }

    fn remove_stream(&mut self, chat: ChatKey, id: u64) {
        if let Some(subscribers) = self.chats.get_mut(&chat) {
            subscribers.streams.remove(&id);
            if subscribers.streams.is_empty() {
                self.chats.remove(&chat);
            }
        }
    }

    /// Enqueues an entry for the streams of its chat, at once or, if there are many, in a fan-out pass.
    /// Returns true if the backlog of the chat overflowed, so that streams must read from the database.
    pub(super) fn deliver(&mut self, entry: &Arc<LiveEntry>) -> bool {
        let key = (entry.org_id, entry.chat_id);
        match entry.kind {
            LiveKind::Message | LiveKind::Joining(_) | LiveKind::Leaving(_) => self.recent.push(entry),
            LiveKind::Restored => self.recent.remove(key),
            LiveKind::Head | LiveKind::Chats => {}
        }
        if let LiveKind::Joining(member) = entry.kind {
            for id in self
                .members
                .get(&(entry.org_id, member))
                .cloned()
                .unwrap_or_default()
            {
                self.attach(id, entry.chat_id, entry.seq - 1);
            }
        }
        let Some(subscribers) = self.chats.get_mut(&key) else {
            // A pass may be active whose streams are gone. It delivers to those that attach meanwhile.
            return self.fanout.append(key, entry) == Appended::Overflow;
        };
        let known = &mut subscribers.known;
        if entry.is_mark() || entry.seq > known.seq {
            *known = Known {
                seq: entry.seq,
                entry_id: entry.entry_id,
                is_certain: known.is_certain || entry.is_mark(),
            };
        }
        match self.fanout.append(key, entry) {
            Appended::Queued => return false,
            Appended::Overflow => {
                known.is_certain = false;
                return true;
            }
            Appended::Inactive => {}
        }
        let ids: Vec<u64> = subscribers.streams.iter().copied().collect();
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
        let subscribers = |key: &_| {
            let found = chats.get(key).into_iter();
            found.flat_map(|chat| chat.streams.iter()).copied().collect()
        };
        match self.fanout.step(Instant::now(), subscribers) {
            Step::Deliver(entries, streams) => {
                self.enqueue(&entries, &streams);
                ControlFlow::Continue(())
            }
            Step::Wait(until) => ControlFlow::Break(Some(until)),
            Step::Idle => ControlFlow::Break(None),
        }
    }

    /// The chats and members in the scope that have a stream.
    pub(super) fn subscribed(&self, scope: &Scope) -> Subscribed {
        let chats = self.chats.iter().filter(|((org, _), _)| scope.contains(org));
        let members = self.members.iter().filter(|((org, _), _)| scope.contains(org));
        let counts = |ids: &BTreeSet<u64>| {
            let streams = ids.iter().filter_map(|id| Some((*id, self.streams.get(id)?)));
            streams
                .map(|(id, subscriber)| (id, subscriber.chats.len()))
                .collect()
        };
        (
            chats.map(|(key, chat)| (*key, chat.known)).collect(),
            members.map(|(key, ids)| (*key, counts(ids))).collect(),
        )
    }

    /// Notes the id of the last entry that the streams of a chat have.
    pub(super) fn learn(&mut self, chat: ChatKey, seq: i64, entry_id: Option<EntryId>) {
        if let Some(subscribers) = self.chats.get_mut(&chat)
            && subscribers.known.seq == seq
            && subscribers.known.entry_id.is_none()
        {
            subscribers.known.entry_id = entry_id;
        }
    }

    /// Makes the streams of a member look for its chats if their number is not `count`, neither now nor
    /// `before`, when the database was not yet read. A member who leaves one chat and joins another one keeps
    /// the number, but the entry of the leaving, which the stream gets, changes it.
    pub(super) fn check_chats(
        &mut self,
        (org_id, member_id): (OrgId, MemberId),
        before: &HashMap<u64, usize>,
        count: usize,
    ) {
        let Some(ids) = self.members.get(&(org_id, member_id)).cloned() else {
            return;
        };
        for id in ids {
            let Some(subscriber) = self.streams.get_mut(&id) else {
                continue;
            };
            // A stream that was opened meanwhile has just read its chats.
            let same = before.get(&id).is_none_or(|before| *before == count);
            if same || subscriber.chats.len() == count || subscriber.check_is_queued {
                continue;
            }
            subscriber.check_is_queued = true;
            let chat = ChatId::from_uuid(Uuid::nil());
            self.enqueue(&[LiveEntry::mark((org_id, chat), 0, LiveKind::Chats)], &[id]);
        }
    }

    /// The stream looks for the chats of its member now.
    pub(super) fn checks_chats(&mut self, id: u64) {
        if let Some(subscriber) = self.streams.get_mut(&id) {
            subscriber.check_is_queued = false;
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
