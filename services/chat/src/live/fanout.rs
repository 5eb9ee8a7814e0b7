use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
    vec,
};

use parta_ids::{ChatId, OrgId};
use tokio::time::Instant;

use super::LiveEntry;

type ChatKey = (OrgId, ChatId);

/// Chats with more subscribers than this use batched fan-out.
pub(super) const FANOUT_THRESHOLD_SUBSCRIBERS: usize = 64;
/// Streams that are woken in one step, before the scheduler yields to other tasks.
const STREAMS_PER_STEP: usize = 64;
/// At most this many entries are delivered in one pass, and at most a quarter of the capacity of a stream's
/// queue.
const PASS_MAX_ENTRIES: usize = 32;
/// At most this many entries of one chat wait for its next pass.
const BACKLOG_MAX_ENTRIES: usize = 4_096;
/// Time from the start of a pass to the start of the next one of the same chat, per subscriber and at most
/// [`INTERVAL_MAX`] in all. The subscribers take about this time to send the entries of a pass.
const INTERVAL_PER_SUBSCRIBER: Duration = Duration::from_micros(12);
/// The same if an entry arrived during the pass. The senders are as fast as the passes, so larger batches
/// deliver all entries sooner.
const BUSY_INTERVAL_PER_SUBSCRIBER: Duration = Duration::from_micros(24);
/// Longest time from the start of a pass to the start of the next one of the same chat.
const INTERVAL_MAX: Duration = Duration::from_millis(100);

/// Schedules the fan-out of chats with many subscribers in passes, instead of delivering each entry by
/// itself. Waking a thousand streams at once delays every other task, the next sender's included. In a pass a
/// stream gets all entries since the pass before, with one wake-up and one frame.
pub(super) struct FanoutScheduler {
    pass_max_entries: usize,
    /// The active chats: those in a pass and those in the pause after one. Each has the entries for its next
    /// pass.
    backlog: HashMap<ChatKey, VecDeque<Arc<LiveEntry>>>,
    /// The passes take turns, so that a large chat does not delay another.
    running: VecDeque<Pass>,
    /// The times at which the next passes may start.
    paused: BTreeSet<(Instant, ChatKey)>,
}

/// One pass over the subscribers of a chat.
struct Pass {
    chat: ChatKey,
    entries: Vec<Arc<LiveEntry>>,
    subscribers: vec::IntoIter<u64>,
    begin: Instant,
    subscriber_count: u32,
}

impl Pass {
    fn new(chat: ChatKey, entries: Vec<Arc<LiveEntry>>, subscribers: Vec<u64>, now: Instant) -> Self {
        Self {
            chat,
            entries,
            begin: now,
            subscriber_count: u32::try_from(subscribers.len()).unwrap_or(u32::MAX),
            subscribers: subscribers.into_iter(),
        }
    }
}

/// The next action of the task that runs the fan-out.
pub(super) enum Step {
    /// Deliver these entries of one chat to these streams.
    Deliver(Vec<Arc<LiveEntry>>, Vec<u64>),
    /// Nothing to do before this time.
    Wait(Instant),
    /// Nothing to do until a pass begins.
    Idle,
}

/// The result of [`FanoutScheduler::append`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// The next pass delivers the entry.
    Queued,
    /// The chat is not active.
    Inactive,
    /// The backlog was full and is dropped: every stream must read from the database.
    Overflow,
}

impl FanoutScheduler {
    /// `queue_capacity` is the number of entries that the queue of one stream holds.
    pub(super) fn new(queue_capacity: usize) -> Self {
        Self {
            pass_max_entries: (queue_capacity / 4).clamp(1, PASS_MAX_ENTRIES),
            backlog: HashMap::new(),
            running: VecDeque::new(),
            paused: BTreeSet::new(),
        }
    }

    /// Appends an entry to the backlog of an active chat.
    pub(super) fn append(&mut self, chat: ChatKey, entry: &Arc<LiveEntry>) -> Appended {
        let Some(backlog) = self.backlog.get_mut(&chat) else {
            return Appended::Inactive;
        };
        if backlog.len() < BACKLOG_MAX_ENTRIES {
            backlog.push_back(entry.clone());
            return Appended::Queued;
        }
        backlog.clear();
        Appended::Overflow
    }

    /// Begins the first pass of a chat that is not active.
    pub(super) fn begin(
        &mut self,
        chat: ChatKey,
        entry: &Arc<LiveEntry>,
        subscribers: Vec<u64>,
        now: Instant,
    ) {
        self.backlog.entry(chat).or_default();
        let entries = vec![entry.clone()];
        self.running.push_back(Pass::new(chat, entries, subscribers, now));
    }

    /// Returns the next action. `subscribers` returns the present subscribers of a chat.
    pub(super) fn step(&mut self, now: Instant, subscribers: impl Fn(&ChatKey) -> Vec<u64>) -> Step {
        while let Some((next, chat)) = self.paused.first().copied().filter(|(next, _)| *next <= now) {
            self.paused.remove(&(next, chat));
            match self.backlog.get_mut(&chat) {
                Some(backlog) if !backlog.is_empty() => {
                    let count = backlog.len().min(self.pass_max_entries);
                    let entries = backlog.drain(..count).collect();
                    // The present subscribers: a stream that attached during the pause is among them, and has
                    // read the entries before from the database.
                    self.running
                        .push_back(Pass::new(chat, entries, subscribers(&chat), now));
                }
                _ => _ = self.backlog.remove(&chat),
            }
        }
        let Some(mut pass) = self.running.pop_front() else {
            let next = self.paused.first().map(|(next, _)| *next);
            return next.map_or(Step::Idle, Step::Wait);
        };
        let streams: Vec<u64> = pass.subscribers.by_ref().take(STREAMS_PER_STEP).collect();
        let entries = pass.entries.clone();
        if pass.subscribers.len() > 0 {
            self.running.push_back(pass);
        } else {
            let busy = self
                .backlog
                .get(&pass.chat)
                .is_some_and(|backlog| !backlog.is_empty());
            let interval = if busy {
                BUSY_INTERVAL_PER_SUBSCRIBER
            } else {
                INTERVAL_PER_SUBSCRIBER
            };
            let pause = interval.saturating_mul(pass.subscriber_count).min(INTERVAL_MAX);
            self.paused.insert((pass.begin + pause, pass.chat));
        }
        Step::Deliver(entries, streams)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use parta_ids::{TypedId, Uuid};
    use proptest::prelude::*;

    use super::{
        super::{LiveKind, Response},
        *,
    };

    fn entry(chat: ChatKey, seq: i64) -> Arc<LiveEntry> {
        Arc::new(LiveEntry {
            org_id: chat.0,
            chat_id: chat.1,
            seq,
            entry_id: None,
            kind: LiveKind::Message,
            is_partial: false,
            response: Response::encoded(Bytes::new()),
        })
    }

    fn key(n: u8) -> ChatKey {
        let id = Uuid::from_u128(u128::from(n) + 1);
        (OrgId::from_uuid(id), ChatId::from_uuid(id))
    }

    #[derive(Debug, Clone)]
    enum Act {
        Publish(u8),
        Step,
        /// Advances the time by this many milliseconds.
        Advance(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            4 => (0..3_u8).prop_map(Act::Publish),
            2 => Just(Act::Step),
            1 => (0..9_u64).prop_map(Act::Advance),
        ];
        prop::collection::vec(act, 0..400)
    }

    proptest! {
        #[test]
        fn entries_are_delivered_once_and_in_order(acts in acts(), many in 1..200_u64) {
            let all: Vec<u64> = (0..many).collect();
            let mut fanout = FanoutScheduler::new(512);
            let mut published: BTreeMap<ChatKey, i64> = BTreeMap::new();
            let mut delivered: BTreeMap<(ChatKey, u64), i64> = BTreeMap::new();
            let mut step = |fanout: &mut FanoutScheduler, now| {
                let step = fanout.step(now, |_| all.clone());
                if let Step::Deliver(entries, streams) = &step {
                    prop_assert!(streams.len() <= STREAMS_PER_STEP && entries.len() <= PASS_MAX_ENTRIES);
                    for stream in streams {
                        for entry in entries {
                            let last = delivered.entry(((entry.org_id, entry.chat_id), *stream)).or_default();
                            *last += 1;
                            prop_assert_eq!(entry.seq, *last);
                        }
                    }
                }
                Ok(step)
            };
            let mut now = Instant::now();
            for act in acts {
                match act {
                    Act::Publish(chat) => {
                        let seq = published.entry(key(chat)).or_default();
                        *seq += 1;
                        let entry = entry(key(chat), *seq);
                        if fanout.append(key(chat), &entry) == Appended::Inactive {
                            fanout.begin(key(chat), &entry, all.clone(), now);
                        }
                    }
                    Act::Step => _ = step(&mut fanout, now)?,
                    Act::Advance(millis) => now += Duration::from_millis(millis),
                }
            }
            loop {
                match step(&mut fanout, now)? {
                    Step::Deliver(..) => {}
                    Step::Wait(until) => {
                        prop_assert!(until > now);
                        now = until;
                    }
                    Step::Idle => break,
                }
            }
            prop_assert!(fanout.backlog.is_empty() && fanout.running.is_empty() && fanout.paused.is_empty());
            for (chat, last) in published {
                for stream in &all {
                    prop_assert_eq!(delivered.get(&(chat, *stream)), Some(&last));
                }
            }
        }
    }

    /// Passes that are slower than the senders must not let the backlog grow: it overflows once and fills
    /// again.
    #[test]
    fn full_backlog_overflows_once() {
        let mut fanout = FanoutScheduler::new(512);
        fanout.begin(key(0), &entry(key(0), 1), vec![1], Instant::now());
        for n in 0..BACKLOG_MAX_ENTRIES {
            let next = entry(key(0), i64::try_from(n).unwrap() + 2);
            assert_eq!(fanout.append(key(0), &next), Appended::Queued);
        }
        assert_eq!(fanout.append(key(0), &entry(key(0), 9_999)), Appended::Overflow);
        assert_eq!(fanout.append(key(0), &entry(key(0), 10_000)), Appended::Queued);
    }

    fn delivery(step: Step) -> (Vec<Arc<LiveEntry>>, Vec<u64>) {
        match step {
            Step::Deliver(entries, streams) => (entries, streams),
            Step::Wait(_) | Step::Idle => panic!("nothing to deliver"),
        }
    }

    #[test]
    fn chats_take_turns() {
        let (mut fanout, now) = (FanoutScheduler::new(512), Instant::now());
        let ids = |count: u64| (0..count).collect::<Vec<_>>();
        fanout.begin(key(0), &entry(key(0), 1), ids(1_000), now);
        fanout.begin(key(1), &entry(key(1), 1), ids(10), now);
        _ = delivery(fanout.step(now, |_| Vec::new()));
        let (entries, streams) = delivery(fanout.step(now, |_| Vec::new()));
        assert_eq!((entries[0].chat_id, streams.len()), (key(1).1, 10));
    }

    #[test]
    fn entries_published_during_a_pass_are_delivered_together() {
        let (mut fanout, now) = (FanoutScheduler::new(512), Instant::now());
        let ids: Vec<u64> = (0..100).collect();
        fanout.begin(key(0), &entry(key(0), 1), ids.clone(), now);
        assert_eq!(delivery(fanout.step(now, |_| Vec::new())).0.len(), 1);
        for seq in 2..5 {
            assert_eq!(fanout.append(key(0), &entry(key(0), seq)), Appended::Queued);
        }
        assert_eq!(delivery(fanout.step(now, |_| Vec::new())).1.len(), 36);
        let pause_end = |fanout: &mut FanoutScheduler, now| match fanout.step(now, |_| ids.clone()) {
            Step::Wait(until) => until,
            Step::Deliver(..) | Step::Idle => panic!("no pause"),
        };
        let until = pause_end(&mut fanout, now);
        assert_eq!(
            until,
            now + BUSY_INTERVAL_PER_SUBSCRIBER * 100,
            "an entry arrived during the pass"
        );
        for _ in 0..2 {
            assert_eq!(delivery(fanout.step(until, |_| ids.clone())).0.len(), 3);
        }
        assert_eq!(
            pause_end(&mut fanout, until),
            until + INTERVAL_PER_SUBSCRIBER * 100,
            "no entry arrived during the pass"
        );
    }
}
