use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
    vec,
};

use parta_ids::{ChatId, OrgId};
use tokio::time::Instant;

use super::LiveEntry;

type At = (OrgId, ChatId);

/// A chat that more listen to is swept.
pub(super) const FANOUT_THRESHOLD_SUBSCRIBERS: usize = 64;
/// So many streams are woken before others get their turn.
const CHUNK: usize = 64;
/// Most entries that a stream is handed in one sweep, but no more than a quarter of what it has room for.
const AT_ONCE: usize = 32;
/// Most entries that wait for a chat's next sweep.
const WAITING: usize = 4_096;
/// From the beginning of a sweep to that of the next of the same chat so long passes for each listener, which is about as
/// long as it takes until they all have what the first one brought, and not more than [`REST`] in all.
const PACE: Duration = Duration::from_micros(12);
/// The same where something came in before the sweep was over: whoever writes is as fast as it is, and the more is gathered
/// the sooner all have everything.
const BURST: Duration = Duration::from_micros(24);
const REST: Duration = Duration::from_millis(100);

/// Chats with many listeners, to whom entries are handed in fanout instead of each by itself. To wake a thousand streams at
/// once makes all who have something to do wait behind them, the next sender among them. In a sweep a stream is handed
/// everything that came in since the one before, for one waking and one frame.
pub(super) struct FanoutScheduler {
    at_once: usize,
    /// The chats that are being swept or rest after it, each with what waits for its next sweep.
    waiting: HashMap<At, VecDeque<Arc<LiveEntry>>>,
    /// In turns, so that a large chat does not hold up another.
    running: VecDeque<Sweep>,
    /// When chats may be swept again.
    resting: BTreeSet<(Instant, At)>,
}

/// One pass over the listeners of a chat.
struct Sweep {
    at: At,
    entries: Vec<Arc<LiveEntry>>,
    listeners: vec::IntoIter<u64>,
    begin: Instant,
    many: u32,
}

impl Sweep {
    fn new(at: At, entries: Vec<Arc<LiveEntry>>, listeners: Vec<u64>, now: Instant) -> Self {
        Self {
            at,
            entries,
            begin: now,
            many: u32::try_from(listeners.len()).unwrap_or(u32::MAX),
            listeners: listeners.into_iter(),
        }
    }
}

/// What whoever fanout has to do.
pub(super) enum Step {
    /// Hand these entries of one chat to these streams.
    Hand(Vec<Arc<LiveEntry>>, Vec<u64>),
    /// Nothing before then.
    Wait(Instant),
    /// Nothing until an entry comes.
    Rest,
}

/// What became of an entry of a chat with many listeners.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The next sweep hands it on.
    Yes,
    /// The chat is not being swept.
    No,
    /// There was no room; what waited is gone, and every stream has to look into the database.
    Overflow,
}

impl FanoutScheduler {
    /// For streams that have room for so many entries.
    pub(super) fn new(room: usize) -> Self {
        Self {
            at_once: (room / 4).clamp(1, AT_ONCE),
            waiting: HashMap::new(),
            running: VecDeque::new(),
            resting: BTreeSet::new(),
        }
    }

    /// Takes an entry of a chat that is being swept, behind those before it.
    pub(super) fn join(&mut self, at: At, entry: &Arc<LiveEntry>) -> Taken {
        let Some(waiting) = self.waiting.get_mut(&at) else {
            return Taken::No;
        };
        if waiting.len() < WAITING {
            waiting.push_back(entry.clone());
            return Taken::Yes;
        }
        waiting.clear();
        Taken::Overflow
    }

    /// Begins to sweep a chat that is not being swept.
    pub(super) fn begin(&mut self, at: At, entry: &Arc<LiveEntry>, listeners: Vec<u64>, now: Instant) {
        self.waiting.entry(at).or_default();
        let entries = vec![entry.clone()];
        self.running.push_back(Sweep::new(at, entries, listeners, now));
    }

    /// What is to be done next. `listeners` says who listens to a chat now.
    pub(super) fn step(&mut self, now: Instant, listeners: impl Fn(&At) -> Vec<u64>) -> Step {
        while let Some((next, at)) = self.resting.first().copied().filter(|(next, _)| *next <= now) {
            self.resting.remove(&(next, at));
            match self.waiting.get_mut(&at) {
                Some(waiting) if !waiting.is_empty() => {
                    let many = waiting.len().min(self.at_once);
                    let entries = waiting.drain(..many).collect();
                    // Asked now: whoever came meanwhile is among them, or has seen in the database what passed before.
                    self.running
                        .push_back(Sweep::new(at, entries, listeners(&at), now));
                }
                _ => _ = self.waiting.remove(&at),
            }
        }
        let Some(mut sweep) = self.running.pop_front() else {
            let next = self.resting.first().map(|(next, _)| *next);
            return next.map_or(Step::Rest, Step::Wait);
        };
        let streams: Vec<u64> = sweep.listeners.by_ref().take(CHUNK).collect();
        let entries = sweep.entries.clone();
        if sweep.listeners.len() > 0 {
            self.running.push_back(sweep);
        } else {
            let burst = self
                .waiting
                .get(&sweep.at)
                .is_some_and(|waiting| !waiting.is_empty());
            let pace = if burst { BURST } else { PACE };
            let rest = pace.saturating_mul(sweep.many).min(REST);
            self.resting.insert((sweep.begin + rest, sweep.at));
        }
        Step::Hand(entries, streams)
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

    fn entry(at: At, seq: i64) -> Arc<LiveEntry> {
        Arc::new(LiveEntry {
            org_id: at.0,
            chat_id: at.1,
            seq,
            kind: LiveKind::Message,
            response: Response::encoded(Bytes::new()),
        })
    }

    fn at(n: u8) -> At {
        let id = Uuid::from_u128(u128::from(n) + 1);
        (OrgId::from_uuid(id), ChatId::from_uuid(id))
    }

    #[derive(Debug, Clone)]
    enum Act {
        Publish(u8),
        Step,
        /// Milliseconds pass.
        Pass(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            4 => (0..3_u8).prop_map(Act::Publish),
            2 => Just(Act::Step),
            1 => (0..9_u64).prop_map(Act::Pass),
        ];
        prop::collection::vec(act, 0..400)
    }

    proptest! {
        /// Every listener is handed every entry once and in order, however publishing and sweeping interleave.
        #[test]
        fn everybody_is_handed_everything_in_order(acts in acts(), many in 1..200_u64) {
            let all: Vec<u64> = (0..many).collect();
            let mut fanout = FanoutScheduler::new(512);
            let mut published: BTreeMap<At, i64> = BTreeMap::new();
            let mut heard: BTreeMap<(At, u64), i64> = BTreeMap::new();
            let mut step = |fanout: &mut FanoutScheduler, now| {
                let step = fanout.step(now, |_| all.clone());
                if let Step::Hand(entries, streams) = &step {
                    prop_assert!(streams.len() <= CHUNK && entries.len() <= AT_ONCE);
                    for stream in streams {
                        for entry in entries {
                            let last = heard.entry(((entry.org_id, entry.chat_id), *stream)).or_default();
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
                        let seq = published.entry(at(chat)).or_default();
                        *seq += 1;
                        let entry = entry(at(chat), *seq);
                        if fanout.join(at(chat), &entry) == Taken::No {
                            fanout.begin(at(chat), &entry, all.clone(), now);
                        }
                    }
                    Act::Step => _ = step(&mut fanout, now)?,
                    Act::Pass(millis) => now += Duration::from_millis(millis),
                }
            }
            loop {
                match step(&mut fanout, now)? {
                    Step::Hand(..) => {}
                    Step::Wait(until) => {
                        prop_assert!(until > now);
                        now = until;
                    }
                    Step::Rest => break,
                }
            }
            prop_assert!(fanout.waiting.is_empty() && fanout.running.is_empty() && fanout.resting.is_empty());
            for (chat, last) in published {
                for stream in &all {
                    prop_assert_eq!(heard.get(&(chat, *stream)), Some(&last));
                }
            }
        }
    }

    /// Who does not sweep as fast as is published must not be buried: it says so once, and goes on.
    #[test]
    fn what_has_no_room_is_told() {
        let mut fanout = FanoutScheduler::new(512);
        fanout.begin(at(0), &entry(at(0), 1), vec![1], Instant::now());
        for n in 0..WAITING {
            let next = entry(at(0), i64::try_from(n).unwrap() + 2);
            assert_eq!(fanout.join(at(0), &next), Taken::Yes);
        }
        assert_eq!(fanout.join(at(0), &entry(at(0), 9_999)), Taken::Overflow);
        assert_eq!(fanout.join(at(0), &entry(at(0), 10_000)), Taken::Yes);
    }

    fn handed(step: Step) -> (Vec<Arc<LiveEntry>>, Vec<u64>) {
        match step {
            Step::Hand(entries, streams) => (entries, streams),
            Step::Wait(_) | Step::Rest => panic!("nothing to hand on"),
        }
    }

    /// A large chat does not hold up another.
    #[test]
    fn chats_take_turns() {
        let (mut fanout, now) = (FanoutScheduler::new(512), Instant::now());
        let ids = |count: u64| (0..count).collect::<Vec<_>>();
        fanout.begin(at(0), &entry(at(0), 1), ids(1_000), now);
        fanout.begin(at(1), &entry(at(1), 1), ids(10), now);
        _ = handed(fanout.step(now, |_| Vec::new()));
        let (entries, streams) = handed(fanout.step(now, |_| Vec::new()));
        assert_eq!((entries[0].chat_id, streams.len()), (at(1).1, 10));
    }

    /// What is written while a chat rests after a sweep goes out together.
    #[test]
    fn what_comes_during_a_sweep_is_handed_on_at_once() {
        let (mut fanout, now) = (FanoutScheduler::new(512), Instant::now());
        let ids: Vec<u64> = (0..100).collect();
        fanout.begin(at(0), &entry(at(0), 1), ids.clone(), now);
        assert_eq!(handed(fanout.step(now, |_| Vec::new())).0.len(), 1);
        for seq in 2..5 {
            assert_eq!(fanout.join(at(0), &entry(at(0), seq)), Taken::Yes);
        }
        assert_eq!(handed(fanout.step(now, |_| Vec::new())).1.len(), 36);
        let rest = |fanout: &mut FanoutScheduler, now| match fanout.step(now, |_| ids.clone()) {
            Step::Wait(until) => until,
            Step::Hand(..) | Step::Rest => panic!("no rest"),
        };
        let until = rest(&mut fanout, now);
        assert_eq!(until, now + BURST * 100, "the writer is as fast as the sweep");
        for _ in 0..2 {
            assert_eq!(handed(fanout.step(until, |_| ids.clone())).0.len(), 3);
        }
        assert_eq!(
            rest(&mut fanout, until),
            until + PACE * 100,
            "nothing came meanwhile"
        );
    }
}
