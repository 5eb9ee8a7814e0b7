//! A load of messages: each member of a class writes to its chat, and reads it by a live stream.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use parta_integration_tests::{Client, Person, Suite};
use parta_proto_chat::v1::{
    self as pb, entry::Content, live_service_client::LiveServiceClient,
    message_service_client::MessageServiceClient, subscribe_chats_response::Item,
};
use parta_status::RpcError;
use parta_testkit::eventually;
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status, Streaming};

/// Pupils of the class. With their teacher, each writes and reads.
const PUPILS: usize = 4;
/// Time between two messages of a member.
const PACE: Duration = Duration::from_millis(25);
/// A client that has waited this long for a response opens a new connection and repeats its call.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(5);
/// Pause before a call is repeated.
const PAUSE: Duration = Duration::from_millis(50);
/// A stream without an entry and without a heartbeat for this long is replaced. Heartbeats come every 15 s.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
/// Acknowledgements of each writer, and entries of each stream, until the load counts as served again.
const SERVED: usize = 40;
/// Time limit for [`Load::served`], and for the last entries of the streams.
const LIMIT: Duration = Duration::from_secs(90);

pub struct Load {
    chat_id: String,
    reader: Client,
    suite: Suite,
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<Vec<Acknowledged>>>,
    readers: Vec<JoinHandle<Received>>,
    no_more_messages: CancellationToken,
    /// The last sequence number of the log, when it is known.
    end: watch::Sender<Option<i64>>,
}

/// The reports of writers and readers.
struct Shared {
    /// Acknowledged messages of each writer, and entries of each reader.
    counts: watch::Sender<Vec<usize>>,
    longest: Mutex<Longest>,
}

/// The longest waits since the last look.
#[derive(Default, Clone, Copy)]
struct Longest {
    acknowledgement: Duration,
    entry: Duration,
}

/// A message whose storage was acknowledged.
struct Acknowledged {
    text: String,
    entry_id: String,
}

/// The entries that one stream brought, over all connections.
struct Received {
    /// The sequence number after which it began.
    start: i64,
    entries: Vec<(i64, String)>,
}

impl Shared {
    fn count(&self, index: usize) {
        self.counts.send_modify(|counts| counts[index] += 1);
    }

    fn waited(&self, wait: impl FnOnce(&mut Longest)) {
        wait(&mut self.longest.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Load {
    /// Creates a school and a class, and starts to write and to read.
    pub async fn start(suite: Suite, tracker: &TaskTracker) -> Self {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let teacher = school.class_teacher("Мария Кузнецова", &class).await;
        let mut members = vec![teacher.clone()];
        for n in 0..PUPILS {
            let name = format!("Пётр Сидоров {n}");
            members.push(school.pupil(&teacher, &name, &class).await);
        }
        let mut chats = Vec::new();
        for member in &members {
            chats.push(eventually("the chat of the class", async || class_chat(member).await).await);
        }
        let chat_id = chats.pop().expect("a chat");
        assert!(
            chats.iter().all(|other| *other == chat_id),
            "one chat of the class"
        );
        let shared = Arc::new(Shared {
            counts: watch::Sender::new(vec![0; 2 * members.len()]),
            longest: Mutex::default(),
        });
        let (end, no_more_messages) = (watch::Sender::new(None), CancellationToken::new());
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for (index, member) in members.iter().enumerate() {
            let actor = |index: usize| Actor {
                index,
                suite: suite.clone(),
                client: member.client.over(&suite.connect()).on_its_own(),
                chat_id: chat_id.clone(),
                shared: shared.clone(),
            };
            writers.push(tracker.spawn(actor(index).write(no_more_messages.clone())));
            readers.push(tracker.spawn(actor(members.len() + index).read(end.subscribe())));
        }
        let load = Self {
            chat_id,
            reader: members[0].client.clone(),
            suite,
            shared,
            writers,
            readers,
            no_more_messages,
            end,
        };
        load.served().await;
        load
    }

    /// Waits until each writer got further acknowledgements, and each stream further entries.
    pub async fn served(&self) {
        let mut counts = self.shared.counts.subscribe();
        let before = counts.borrow_and_update().clone();
        let all = counts.wait_for(|now| {
            now.iter()
                .zip(&before)
                .all(|(now, before)| *now >= before + SERVED)
        });
        let all = tokio::time::timeout(LIMIT, all).await;
        let all = all.map(|all| all.is_ok()).unwrap_or_default();
        let now = self.shared.counts.borrow().clone();
        assert!(
            all,
            "not served again within {LIMIT:?}: {before:?} became {now:?}"
        );
    }

    /// Runs `fault`, waits until the load is served again, and prints the longest waits since its begin.
    pub async fn under(&self, name: &str, fault: impl Future<Output = ()>) {
        self.shared.waited(|longest| *longest = Longest::default());
        let began = Instant::now();
        fault.await;
        let lasted = began.elapsed();
        self.served().await;
        let mut longest = Longest::default();
        self.shared.waited(|seen| longest = *seen);
        report(&format!(
            "{name:<44} lasted {:>5.1} s, longest wait {:>5.2} s for an acknowledgement, {:>5.2} s for an entry",
            lasted.as_secs_f64(),
            longest.acknowledgement.as_secs_f64(),
            longest.entry.as_secs_f64(),
        ));
    }

    /// Ends the load, and checks that each acknowledged message is in the log once, and that each stream
    /// brought everything since its start, once and in order.
    pub async fn check(self) {
        self.no_more_messages.cancel();
        let acknowledged: Vec<Acknowledged> = join_all(self.writers)
            .await
            .into_iter()
            .flat_map(|writer| writer.expect("a writer ends"))
            .collect();
        let log = list(&self.reader.over(&self.suite.connect()), &self.chat_id).await;
        let mut stored: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for entry in &log {
            if let Some(Content::Message(message)) = &entry.content {
                stored.entry(&message.text).or_default().push(&entry.id);
            }
        }
        for Acknowledged { text, entry_id } in &acknowledged {
            assert_eq!(
                stored.get(text.as_str()).map(Vec::as_slice),
                Some([entry_id.as_str()].as_slice()),
                "the acknowledged message {text} is in the log once"
            );
        }
        assert_eq!(stored.len(), acknowledged.len(), "every message was acknowledged");
        self.end.send_replace(log.last().map(|entry| entry.seq));
        let streams = tokio::time::timeout(LIMIT, join_all(self.readers)).await;
        let streams = streams.expect("all streams bring the last entry");
        for (number, stream) in streams.into_iter().enumerate() {
            let stream = stream.expect("a reader ends");
            let expected: Vec<_> = log
                .iter()
                .filter(|entry| entry.seq > stream.start)
                .map(|entry| (entry.seq, entry.id.clone()))
                .collect();
            assert_eq!(
                stream.entries, expected,
                "stream {number} brought everything once"
            );
        }
        report(&format!(
            "{} messages acknowledged, each listed once and delivered once to {} streams",
            acknowledged.len(),
            PUPILS + 1
        ));
    }
}

#[expect(clippy::print_stdout, reason = "`cargo xtask cluster` shows the measurements")]
fn report(line: &str) {
    println!("cluster: {line}");
}

/// Returns the chat of the pupils of the class, once the member is in it.
async fn class_chat(member: &Person) -> Option<String> {
    let listed = member.client.must("ChatService/ListChats", json!({})).await;
    let chats = listed["chats"].as_array()?;
    let found = chats
        .iter()
        .find(|chat| chat["kind"] == "CHAT_KIND_CLASS_PUPILS")?;
    Some(found["id"].as_str()?.to_owned())
}

/// Returns the log from its first entry.
async fn list(client: &Client, chat_id: &str) -> Vec<pb::Entry> {
    let mut api = MessageServiceClient::new(client.channel("chat"));
    let mut page = pb::ListEntriesRequest {
        org_id: client.org_id().expect("an organization").to_owned(),
        chat_id: chat_id.to_owned(),
        after_seq: Some(0),
        page_size: 200,
        page_token: String::new(),
    };
    let mut log = Vec::new();
    loop {
        let response = api.list_entries(client.request(page.clone())).await;
        let response = response.expect("the log is listed").into_inner();
        log.extend(response.entries);
        page.page_token = response.next_page_token;
        if page.page_token.is_empty() {
            return log;
        }
    }
}

/// Panics at a refusal that a fault does not explain.
fn check_is_temporary(status: &Status) {
    let Some(refusal) = RpcError::from_status(status) else {
        // The connection was lost.
        return;
    };
    let lost = [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Cancelled,
        Code::Aborted,
    ];
    assert!(
        lost.contains(&refusal.code()),
        "{:?} {}: {}",
        refusal.code(),
        refusal.reason(),
        status.message()
    );
}

/// A writer or a reader, with connections of its own.
struct Actor {
    index: usize,
    suite: Suite,
    client: Client,
    chat_id: String,
    shared: Arc<Shared>,
}

impl Actor {
    fn reconnect(&mut self) {
        self.client = self.client.over(&self.suite.connect());
    }

    fn org_id(&self) -> String {
        self.client.org_id().expect("an organization").to_owned()
    }

    /// Writes until the load ends, and repeats each message until it is acknowledged.
    async fn write(mut self, no_more_messages: CancellationToken) -> Vec<Acknowledged> {
        let mut acknowledged = Vec::new();
        while !no_more_messages.is_cancelled() {
            let text = format!("{}/{}", self.index, acknowledged.len());
            let began = Instant::now();
            let entry_id = self.send(&text).await;
            let waited = began.elapsed();
            self.shared
                .waited(|longest| longest.acknowledgement = longest.acknowledgement.max(waited));
            self.shared.count(self.index);
            acknowledged.push(Acknowledged { text, entry_id });
            tokio::time::sleep(PACE).await;
        }
        acknowledged
    }

    async fn send(&mut self, text: &str) -> String {
        let message = pb::SendMessageRequest {
            request_id: self.client.request_id(),
            org_id: self.org_id(),
            chat_id: self.chat_id.clone(),
            text: text.to_owned(),
        };
        loop {
            let mut api = MessageServiceClient::new(self.client.channel("chat"));
            let sending = api.send_message(self.client.request(message.clone()));
            match tokio::time::timeout(ATTEMPT_LIMIT, sending).await {
                Ok(Ok(sent)) => return sent.into_inner().entry_id,
                Ok(Err(status)) => {
                    check_is_temporary(&status);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(_) => self.reconnect(),
            }
        }
    }

    /// Reads until the end of the log. Resumes a lost stream after the last entry.
    async fn read(mut self, mut end: watch::Receiver<Option<i64>>) -> Received {
        let mut received: Option<Received> = None;
        let mut waiting = Instant::now();
        loop {
            let last = received.as_ref().map(Received::last);
            let Some(mut stream) = self.subscribe(last).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            loop {
                let is_complete = |end: Option<i64>| {
                    end.is_some_and(|end| received.as_ref().is_some_and(|received| received.last() >= end))
                };
                if is_complete(*end.borrow_and_update()) {
                    return received.expect("a stream that began");
                }
                let next = tokio::select! {
                    next = tokio::time::timeout(SILENCE_LIMIT, stream.message()) => next,
                    _ = end.changed() => continue,
                };
                match next {
                    Ok(Ok(Some(response))) => match response.item {
                        Some(Item::Started(started)) => {
                            let seq = self.position(&started);
                            received.get_or_insert(Received {
                                start: seq,
                                entries: Vec::new(),
                            });
                        }
                        Some(Item::Entry(entry)) if entry.chat_id == self.chat_id => {
                            let waited = waiting.elapsed();
                            waiting = Instant::now();
                            self.shared
                                .waited(|longest| longest.entry = longest.entry.max(waited));
                            self.shared.count(self.index);
                            let received = received.as_mut().expect("a stream starts first");
                            received.entries.push((entry.seq, entry.id));
                        }
                        _ => {}
                    },
                    Ok(Ok(None)) => break,
                    Ok(Err(status)) => {
                        check_is_temporary(&status);
                        break;
                    }
                    Err(_) => {
                        self.reconnect();
                        break;
                    }
                }
            }
        }
    }

    fn position(&self, started: &pb::SubscriptionStarted) -> i64 {
        let mut cursors = started.cursors.iter();
        let cursor = cursors.find(|cursor| cursor.chat_id == self.chat_id);
        cursor.expect("the member is in the chat").seq
    }

    async fn subscribe(&mut self, last: Option<i64>) -> Option<Streaming<pb::SubscribeChatsResponse>> {
        let cursor = |seq| pb::ChatCursor {
            chat_id: self.chat_id.clone(),
            seq,
            ..Default::default()
        };
        let request = self.client.request(pb::SubscribeChatsRequest {
            org_id: self.org_id(),
            cursors: last.map(cursor).into_iter().collect(),
        });
        let mut api = LiveServiceClient::new(self.client.channel("chat"));
        match tokio::time::timeout(ATTEMPT_LIMIT, api.subscribe_chats(request)).await {
            Ok(Ok(stream)) => Some(stream.into_inner()),
            Ok(Err(status)) => {
                check_is_temporary(&status);
                None
            }
            Err(_) => {
                self.reconnect();
                None
            }
        }
    }
}

impl Received {
    fn last(&self) -> i64 {
        self.entries.last().map_or(self.start, |(seq, _)| *seq)
    }
}
