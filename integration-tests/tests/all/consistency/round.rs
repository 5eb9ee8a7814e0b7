//! One round: all actors write, move and read while faults happen. Then the results are compared.
#![expect(
    clippy::disallowed_types,
    reason = "the tasks of a round end with the JoinSet that owns them"
)]
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use parta_integration_tests::Chance;
use parta_proto::parta::chat::v1::{self as pb, message_service_client::MessageServiceClient};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use crate::consistency::{
    Size,
    faults::Faults,
    moves::{self, Moves},
    reader::{self, Read},
    stats::Stats,
    verdict::{self, Line, Log},
    workload::Workload,
    writer::{self, Act, Answer, answer, pause},
};

/// Time limit without progress.
const PATIENCE: Duration = Duration::from_secs(120);

/// By chat and member: the last expected sequence number, and whether the member is still in the chat.
pub(crate) type Goals = Vec<BTreeMap<String, (i64, bool)>>;

/// The shared state of all actors.
pub(crate) struct Round {
    /// Prefix of the texts of the messages.
    pub(crate) name: String,
    pub(crate) workload: Workload,
    pub(crate) replicas: Vec<&'static str>,
    pub(crate) size: Size,
    pub(crate) stats: Arc<Stats>,
    seed: u64,
    /// Number of requests with a definite outcome.
    settled: watch::Sender<usize>,
    /// Number of streams that have begun.
    listening: watch::Sender<usize>,
    acknowledged: Mutex<HashMap<(usize, i64), Instant>>,
    found: Mutex<Vec<String>>,
}

/// The progress of writing.
pub(crate) struct Course {
    settled: watch::Receiver<usize>,
    all: usize,
}

impl Course {
    /// Waits until `count` requests have an outcome.
    pub(crate) async fn reaches(&self, count: usize) {
        let mut settled = self.settled.clone();
        let reached = tokio::time::timeout(PATIENCE, settled.wait_for(|n| *n >= count)).await;
        assert!(reached.is_ok(), "no request has an outcome within the time limit");
    }

    /// Waits for a random part of the round, at most 1/`part`. Returns whether writing continues after it.
    pub(crate) async fn goes_on(&self, seeded_rng: &mut Chance, part: usize) -> bool {
        let count = *self.settled.borrow() + 1 + seeded_rng.below((self.all / part).max(1));
        self.reaches(count.min(self.all)).await;
        count < self.all
    }
}

impl Round {
    /// Creates a round. The seed determines the plans of all actors.
    pub(crate) fn new(
        workload: Workload,
        replicas: &[&'static str],
        size: Size,
        seed: u64,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            name: format!("{seed}"),
            workload,
            replicas: replicas.to_vec(),
            size,
            stats,
            seed,
            settled: watch::Sender::new(0),
            listening: watch::Sender::new(0),
            acknowledged: Mutex::default(),
            found: Mutex::default(),
        }
    }

    pub(crate) fn seeded_rng(&self, kind: &str, number: usize) -> Chance {
        Chance::of_actor(self.seed, kind, number)
    }

    /// Returns one of the replicas.
    pub(crate) fn replica(&self, seeded_rng: &mut Chance) -> &'static str {
        seeded_rng.of::<&'static str>(&self.replicas)
    }

    pub(crate) fn course(&self) -> Course {
        Course {
            settled: self.settled.subscribe(),
            all: self.size.all_acts(),
        }
    }

    /// Counts a request with a definite outcome.
    pub(crate) fn settled(&self) {
        self.settled.send_modify(|n| *n += 1);
    }

    /// Counts a stream that has begun.
    pub(crate) fn listens(&self) {
        self.listening.send_modify(|n| *n += 1);
    }

    /// Records a fault.
    pub(crate) fn found(&self, what: String) {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    /// Records the time of an acknowledgement.
    pub(crate) fn acknowledged(&self, chat: usize, seq: i64) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.insert((chat, seq), Instant::now());
    }

    /// Records the arrival of a message at a stream. Messages that were acknowledged before the stream was
    /// opened do not count as live delivery. Messages that arrive before their acknowledgement have no lag.
    pub(crate) fn arrived(&self, chat: usize, seq: i64, opened: Instant) {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let at = acknowledged.get(&(chat, seq)).copied();
        drop(acknowledged);
        match at {
            Some(at) if at < opened => {}
            Some(at) => self.stats.lag.add(at.elapsed()),
            None => self.stats.lag.add(Duration::ZERO),
        }
    }

    /// Runs the round. Returns the faults, and the workload with its new state.
    pub(crate) async fn play(self, faults: Faults<'_>) -> (Workload, Vec<String>) {
        let round = Arc::new(self);
        let (goals, wanted) = watch::channel(None);
        let mut readers = JoinSet::new();
        for person in 0..round.workload.people.len() {
            for stream in 0..round.size.streams {
                readers.spawn(reader::read(round.clone(), (person, stream), wanted.clone()));
            }
        }
        // All streams must begin before the first message, so that participants receive every entry.
        let (all, mut listening) = (readers.len(), round.listening.subscribe());
        let begun = tokio::time::timeout(PATIENCE, listening.wait_for(|n| *n == all)).await;
        assert!(begun.is_ok(), "a stream has not begun within the time limit");

        let writers = JoinSet::from_iter((0..round.size.writers).map(|n| writer::write(round.clone(), n)));
        let moved = (0..round.workload.chats.len()).filter(|n| !round.workload.chats[*n].movable.is_empty());
        let movers = JoinSet::from_iter(moved.map(|chat| {
            let round = round.clone();
            async move { (chat, moves::by_hand(round, chat).await) }
        }));
        let (acts, moves, class_of, ()) = tokio::join!(
            writers.join_all(),
            movers.join_all(),
            moves::between_classes(round.clone()),
            faults.happen(round.seed, round.size, round.course(), &round.stats)
        );
        let mut acts: Vec<Act> = acts.into_iter().flatten().collect();
        // This call waits until chat has applied every transfer.
        let teacher = &round.workload.people[round.workload.chats.last().expect("a chat").witness];
        teacher.client.must("ChatService/ListChats", json!({})).await;
        acts.extend(writer::last_words(&round).await);
        let mut found = std::mem::take(&mut *round.found.lock().unwrap_or_else(PoisonError::into_inner));
        let logs = round.logs(&mut found).await;
        let ends = |log: &Log| {
            let end =
                |p: &parta_integration_tests::Person| Some((p.member_id.clone(), log.end_of(&p.member_id)?));
            round.workload.people.iter().filter_map(end).collect()
        };
        goals.send_replace(Some(Arc::new(logs.iter().map(ends).collect())));
        let reads = readers.join_all().await;
        round.judge(&logs, &acts, &moves.into_iter().collect(), &reads, &mut found);
        found.append(&mut round.found.lock().unwrap_or_else(PoisonError::into_inner));
        let mut workload = Arc::into_inner(round).expect("everybody is done").workload;
        workload.class_of = class_of;
        (workload, found)
    }

    fn judge(
        &self,
        logs: &[Log],
        acts: &[Act],
        moves: &BTreeMap<usize, Moves>,
        reads: &[Read],
        found: &mut Vec<String>,
    ) {
        assert!(verdict::unique(acts), "two acts with one text");
        for (chat, log) in logs.iter().enumerate() {
            let mut wrong = Vec::new();
            let of_chat: Vec<_> = acts.iter().filter(|act| act.chat == chat).collect();
            log.judge_acts(&self.name, &of_chat, &mut wrong);
            if let Some(moves) = moves.get(&chat) {
                log.judge_moves(moves, &mut wrong);
            }
            for read in reads {
                log.judge_track(&read.name, &read.member, read.tracks.get(&chat), &mut wrong);
            }
            found.extend(wrong.into_iter().map(|what| format!("chat {chat}: {what}")));
        }
    }

    /// Returns the logs of all chats, listed by their witnesses.
    async fn logs(&self, found: &mut Vec<String>) -> Vec<Log> {
        let mut logs = Vec::new();
        for (n, chat) in self.workload.chats.iter().enumerate() {
            let mut wrong = Vec::new();
            let lines = self.list(n).await;
            logs.push(Log::new(lines, chat.derived, &mut wrong));
            found.extend(wrong.into_iter().map(|what| format!("chat {n}: {what}")));
        }
        logs
    }

    async fn list(&self, chat: usize) -> Vec<Line> {
        let chat = &self.workload.chats[chat];
        let client = self.workload.people[chat.witness].client.on_its_own();
        let mut seeded_rng = self.seeded_rng("list", 0);
        let mut api = MessageServiceClient::new(client.channel("chat"));
        let mut page = pb::ListEntriesRequest {
            org_id: client.org_id().unwrap().to_owned(),
            chat_id: chat.id.clone(),
            after_seq: Some(0),
            page_size: 200,
            page_token: String::new(),
        };
        let mut lines = Vec::new();
        loop {
            match answer(api.list_entries(client.request(page.clone())).await) {
                Answer::Done(answered) => {
                    let answered = answered.into_inner();
                    lines.extend(answered.entries.into_iter().map(Line::from));
                    page.page_token = answered.next_page_token;
                    if page.page_token.is_empty() {
                        return lines;
                    }
                }
                Answer::Refused(why) => panic!("the witness may not read: {why}"),
                Answer::Lost => pause(&mut seeded_rng).await,
            }
        }
    }
}
