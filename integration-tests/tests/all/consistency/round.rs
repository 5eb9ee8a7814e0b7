//! One round: writers send, participants change and readers receive while faults happen. Then the results are
//! checked.
#![expect(
    clippy::disallowed_types,
    reason = "the tasks of a round end with the JoinSet that owns them"
)]
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use parta_integration_tests::SeededRng;
use parta_proto_chat::v1::{self as pb, message_service_client::MessageServiceClient};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use crate::consistency::{
    Size,
    checker::{self, Log, LogEntry},
    faults::Faults,
    participants::{self, ParticipantChanges},
    reader::{self, ReaderResult},
    revoked,
    stats::Stats,
    workload::Workload,
    writer::{self, AttemptResult, SentMessage, classify, pause},
};

/// Time limit without progress.
const TIMEOUT: Duration = Duration::from_secs(120);

/// By chat and member: the last expected sequence number, and whether the member is still in the chat.
pub(crate) type ExpectedEnds = Vec<BTreeMap<String, (i64, bool)>>;

/// The shared state of all actors.
pub(crate) struct Round {
    /// Prefix of the texts of the messages.
    pub(crate) name: String,
    pub(crate) workload: Workload,
    pub(crate) replicas: Vec<&'static str>,
    pub(crate) size: Size,
    pub(crate) stats: Arc<Stats>,
    seed: u64,
    /// Number of messages with a definite outcome.
    completed: watch::Sender<usize>,
    /// Number of streams that have begun.
    started_streams: watch::Sender<usize>,
    /// Time of the acknowledgement of each message, by chat and sequence number.
    acknowledged: Mutex<HashMap<(usize, i64), Instant>>,
    violations: Mutex<Vec<String>>,
}

/// The progress of a round, as the number of messages with a definite outcome.
pub(crate) struct Progress {
    completed: watch::Receiver<usize>,
    total: usize,
}

impl Progress {
    /// Waits until `count` messages have an outcome.
    pub(crate) async fn wait_until(&self, count: usize) {
        let mut completed = self.completed.clone();
        let reached = tokio::time::timeout(TIMEOUT, completed.wait_for(|n| *n >= count)).await;
        assert!(
            reached.is_ok(),
            "fewer than {count} messages have an outcome within the time limit"
        );
    }

    /// Waits until all messages have an outcome.
    pub(crate) async fn wait_until_end(&self) {
        self.wait_until(self.total).await;
    }

    /// Waits for a random part of the round, at most 1/`part` of it. Returns whether the round continues
    /// after it.
    pub(crate) async fn wait_random_part(&self, seeded_rng: &mut SeededRng, part: usize) -> bool {
        let count = *self.completed.borrow() + 1 + seeded_rng.below((self.total / part).max(1));
        self.wait_until(count.min(self.total)).await;
        count < self.total
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
            completed: watch::Sender::new(0),
            started_streams: watch::Sender::new(0),
            acknowledged: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    pub(crate) fn seeded_rng(&self, kind: &str, number: usize) -> SeededRng {
        SeededRng::for_actor(self.seed, kind, number)
    }

    pub(crate) fn replica(&self, seeded_rng: &mut SeededRng) -> &'static str {
        seeded_rng.choose::<&'static str>(&self.replicas)
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            completed: self.completed.subscribe(),
            total: self.size.total_messages(),
        }
    }

    /// Counts a message with a definite outcome.
    pub(crate) fn record_completion(&self) {
        self.completed.send_modify(|n| *n += 1);
    }

    /// Counts a stream that has begun.
    pub(crate) fn record_stream_start(&self) {
        self.started_streams.send_modify(|n| *n += 1);
    }

    /// Records a violation of consistency.
    pub(crate) fn report(&self, violation: String) {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(violation);
    }

    fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut *self.violations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records the time of an acknowledgement.
    pub(crate) fn record_acknowledgement(&self, chat: usize, seq: i64) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.insert((chat, seq), Instant::now());
    }

    /// Records the arrival of a message at a stream. Messages that were acknowledged before the stream was
    /// opened do not count as live delivery. Messages that arrive before their acknowledgement have no lag.
    pub(crate) fn record_arrival(&self, chat: usize, seq: i64, opened: Instant) {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let at = acknowledged.get(&(chat, seq)).copied();
        drop(acknowledged);
        match at {
            Some(at) if at < opened => {}
            Some(at) => self.stats.lag.add(at.elapsed()),
            None => self.stats.lag.add(Duration::ZERO),
        }
    }

    /// Runs the round. Returns the workload with its new state, and the violations.
    pub(crate) async fn run(self, faults: Faults<'_>) -> (Workload, Vec<String>) {
        let round = Arc::new(self);
        let (expected_ends, expected_ends_receiver) = watch::channel(None);
        let mut readers = JoinSet::new();
        for person in 0..round.workload.people.len() {
            for stream in 0..round.size.streams {
                readers.spawn(reader::read(
                    round.clone(),
                    (person, stream),
                    expected_ends_receiver.clone(),
                ));
            }
        }
        // All streams must begin before the first message, so that participants receive every entry.
        let (all, mut started_streams) = (readers.len(), round.started_streams.subscribe());
        let started = tokio::time::timeout(TIMEOUT, started_streams.wait_for(|n| *n == all)).await;
        assert!(started.is_ok(), "a stream has not begun within the time limit");

        let writers =
            JoinSet::from_iter((0..round.size.writers).map(|n| writer::send_messages(round.clone(), n)));
        let changing =
            (0..round.workload.chats.len()).filter(|n| !round.workload.chats[*n].movable.is_empty());
        let changers = JoinSet::from_iter(changing.map(|chat| {
            let round = round.clone();
            async move { (chat, participants::change_custom_chat(round, chat).await) }
        }));
        let (messages, changes, class_of, (), ()) = tokio::join!(
            writers.join_all(),
            changers.join_all(),
            participants::transfer_pupils(round.clone()),
            revoked::end_sessions(round.clone()),
            faults.run(round.seed, round.size, round.progress(), &round.stats)
        );
        let mut messages: Vec<SentMessage> = messages.into_iter().flatten().collect();
        // This call waits until chat has applied every transfer.
        let teacher = &round.workload.people[round.workload.chats.last().expect("no chat").permanent_member];
        teacher.client.must("ChatService/ListChats", json!({})).await;
        messages.extend(writer::final_messages(&round).await);
        let mut violations = round.take_violations();
        let logs = round.logs(&mut violations).await;
        let ends = |log: &Log| {
            let end = |p: &parta_integration_tests::Person| {
                Some((p.member_id.clone(), log.last_readable(&p.member_id)?))
            };
            round.workload.people.iter().filter_map(end).collect()
        };
        expected_ends.send_replace(Some(Arc::new(logs.iter().map(ends).collect())));
        let results = readers.join_all().await;
        round.check(
            &logs,
            &messages,
            &changes.into_iter().collect(),
            &results,
            &mut violations,
        );
        violations.append(&mut round.take_violations());
        let mut workload = Arc::into_inner(round)
            .expect("an actor still uses the round")
            .workload;
        workload.class_of = class_of;
        (workload, violations)
    }

    fn check(
        &self,
        logs: &[Log],
        messages: &[SentMessage],
        changes: &BTreeMap<usize, ParticipantChanges>,
        results: &[ReaderResult],
        violations: &mut Vec<String>,
    ) {
        assert!(
            checker::all_texts_unique(messages),
            "two messages have the same text"
        );
        for (chat, log) in logs.iter().enumerate() {
            let mut of_chat = Vec::new();
            let sent: Vec<_> = messages.iter().filter(|message| message.chat == chat).collect();
            log.check_messages(&self.name, &sent, &mut of_chat);
            if let Some(changes) = changes.get(&chat) {
                log.check_participants(changes, &mut of_chat);
            }
            for result in results {
                let received = result.received.get(&chat);
                log.check_stream(&result.name, &result.member, received, &mut of_chat);
            }
            violations.extend(of_chat.into_iter().map(|text| format!("chat {chat}: {text}")));
        }
    }

    /// Returns the logs of all chats, listed by their permanent members.
    async fn logs(&self, violations: &mut Vec<String>) -> Vec<Log> {
        let mut logs = Vec::new();
        for (n, chat) in self.workload.chats.iter().enumerate() {
            let mut of_chat = Vec::new();
            let entries = self.list(n).await;
            logs.push(Log::new(entries, chat.derived, &mut of_chat));
            violations.extend(of_chat.into_iter().map(|text| format!("chat {n}: {text}")));
        }
        logs
    }

    async fn list(&self, chat: usize) -> Vec<LogEntry> {
        let chat = &self.workload.chats[chat];
        let client = self.workload.people[chat.permanent_member].client.on_its_own();
        let mut seeded_rng = self.seeded_rng("list", 0);
        let mut api = MessageServiceClient::new(client.channel("chat"));
        let mut page = pb::ListEntriesRequest {
            org_id: client.org_id().unwrap().to_owned(),
            chat_id: chat.id.clone(),
            after_seq: Some(0),
            page_size: 200,
            page_token: String::new(),
        };
        let mut entries = Vec::new();
        loop {
            match classify(api.list_entries(client.request(page.clone())).await) {
                AttemptResult::Done(response) => {
                    let response = response.into_inner();
                    entries.extend(response.entries.into_iter().map(LogEntry::from));
                    page.page_token = response.next_page_token;
                    if page.page_token.is_empty() {
                        return entries;
                    }
                }
                AttemptResult::Refused(reason) => panic!("the permanent member may not read: {reason}"),
                AttemptResult::NoResponse => pause(&mut seeded_rng).await,
            }
        }
    }
}
