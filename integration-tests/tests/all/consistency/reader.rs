//! Readers: each reads a live stream, closes it after a random number of entries, and reconnects to a random
//! replica with its cursors.
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parta_integration_tests::{Client, SeededRng};
use parta_proto_chat::v1::{
    self as pb, entry::Content, live_service_client::LiveServiceClient, subscribe_chats_response::Item,
};
use tokio::sync::watch;
use tonic::Streaming;

use crate::consistency::{
    checker::ReceivedEntries,
    round::{ExpectedEnds, Round},
    writer::pause,
};

/// Time limit for reading the remaining entries after the last message and the last fault.
const TIMEOUT: Duration = Duration::from_secs(45);

/// The entries that a reader received.
pub(crate) struct ReaderResult {
    /// Name of the stream, for messages.
    pub(crate) name: String,
    pub(crate) member: String,
    /// Received entries by chat.
    pub(crate) received: BTreeMap<usize, ReceivedEntries>,
}

struct Reader {
    round: Arc<Round>,
    client: Client,
    member: String,
    seeded_rng: SeededRng,
    cursors: BTreeMap<String, i64>,
    received: BTreeMap<usize, ReceivedEntries>,
}

/// The state of a reader at the end of a stream.
enum StreamEnd {
    /// Entries are missing, so the reader reconnects.
    Reconnect,
    /// The reader received all expected entries.
    Finished,
}

/// Reads until all expected entries were received.
pub(crate) async fn read(
    round: Arc<Round>,
    (person, stream): (usize, usize),
    expected_ends: watch::Receiver<Option<Arc<ExpectedEnds>>>,
) -> ReaderResult {
    let owner = &round.workload.people[person];
    let mut reader = Reader {
        client: owner.client.on_its_own(),
        member: owner.member_id.clone(),
        seeded_rng: round.seeded_rng("reader", person * round.size.streams + stream),
        cursors: BTreeMap::new(),
        received: BTreeMap::new(),
        round: round.clone(),
    };
    let mut ends_are_known = expected_ends.clone();
    let time_limit = async {
        _ = ends_are_known.wait_for(Option::is_some).await;
        tokio::time::sleep(TIMEOUT).await;
    };
    tokio::select! {
        () = reader.read_all(expected_ends) => {}
        // The comparison with the log reports missing entries.
        () = time_limit => {}
    }
    ReaderResult {
        name: format!("stream {stream} of person {person}"),
        member: reader.member,
        received: reader.received,
    }
}

impl Reader {
    async fn read_all(&mut self, mut expected_ends: watch::Receiver<Option<Arc<ExpectedEnds>>>) {
        let mut first = true;
        loop {
            if let Some(stream) = self.open().await {
                if !first {
                    self.round.stats.reconnects.add();
                }
                if matches!(
                    self.read_stream(stream, &mut expected_ends, first).await,
                    StreamEnd::Finished
                ) {
                    return;
                }
                first = false;
            }
            pause(&mut self.seeded_rng).await;
            if self.seeded_rng.one_in(3) {
                // Stay disconnected for a while.
                self.round
                    .progress()
                    .wait_random_part(&mut self.seeded_rng, 12)
                    .await;
            }
        }
    }

    async fn open(&mut self) -> Option<Streaming<pb::SubscribeChatsResponse>> {
        let cursors = self.cursors.iter().map(|(chat_id, seq)| pb::ChatCursor {
            chat_id: chat_id.clone(),
            seq: *seq,
            ..Default::default()
        });
        let request = self.client.request(pb::SubscribeChatsRequest {
            org_id: self.client.org_id().unwrap().to_owned(),
            cursors: cursors.collect(),
        });
        let channel = self.client.channel(self.round.replica(&mut self.seeded_rng));
        let mut api = LiveServiceClient::new(channel);
        let opening = api.subscribe_chats(request);
        // A replica that is about to be killed may accept the call and not respond.
        let opened = tokio::time::timeout(TIMEOUT, opening).await.ok()?;
        opened.ok().map(tonic::Response::into_inner)
    }

    async fn read_stream(
        &mut self,
        mut stream: Streaming<pb::SubscribeChatsResponse>,
        expected_ends: &mut watch::Receiver<Option<Arc<ExpectedEnds>>>,
        first: bool,
    ) -> StreamEnd {
        let opened = Instant::now();
        let mut remaining = 5 + self.seeded_rng.below(120);
        while remaining > 0 {
            let item = tokio::select! {
                item = stream.message() => item,
                _ = expected_ends.changed() => {
                    if self.has_all(expected_ends) {
                        return StreamEnd::Finished;
                    }
                    continue;
                }
            };
            match item {
                Ok(Some(response)) => match response.item {
                    Some(Item::Started(started)) => {
                        self.record_start(started);
                        if first {
                            self.round.record_stream_start();
                        }
                    }
                    Some(Item::Entry(entry)) => {
                        self.record_entry(entry, opened);
                        remaining -= 1;
                    }
                    Some(Item::Reset(reset)) => {
                        self.round.report(format!(
                            "a chat began again, but no database was restored: {reset:?}"
                        ));
                    }
                    _ => continue,
                },
                Ok(None) | Err(_) => return StreamEnd::Reconnect,
            }
            if self.has_all(expected_ends) {
                return StreamEnd::Finished;
            }
        }
        StreamEnd::Reconnect
    }

    /// Records where the stream begins: after the cursor, or at the first entry of a chat that is new to the
    /// reader.
    fn record_start(&mut self, started: pb::SubscriptionStarted) {
        for pb::ChatCursor { chat_id, seq, .. } in started.cursors {
            let Some(chat) = self.round.workload.index_of(&chat_id) else {
                self.cursors.entry(chat_id).or_insert(seq);
                continue;
            };
            match self.cursors.get(&chat_id) {
                Some(last) if *last != seq => {
                    let (member, last) = (&self.member, *last);
                    self.round.report(format!(
                        "{member} had read chat {chat} up to {last}, but the new stream begins after {seq}"
                    ));
                }
                Some(_) => {}
                None => {
                    self.cursors.insert(chat_id, seq);
                    self.received.entry(chat).or_default().start = Some(seq);
                }
            }
        }
    }

    fn record_entry(&mut self, entry: pb::Entry, opened: Instant) {
        self.round.stats.delivered.add();
        self.cursors.insert(entry.chat_id.clone(), entry.seq);
        let Some(chat) = self.round.workload.index_of(&entry.chat_id) else {
            return;
        };
        if matches!(entry.content, Some(Content::Message(_))) {
            self.round.record_arrival(chat, entry.seq, opened);
        }
        self.received
            .entry(chat)
            .or_default()
            .entries
            .push((entry.seq, entry.id));
    }

    fn has_all(&self, expected_ends: &watch::Receiver<Option<Arc<ExpectedEnds>>>) -> bool {
        let Some(expected_ends) = expected_ends.borrow().clone() else {
            return false;
        };
        self.round
            .workload
            .chats
            .iter()
            .zip(expected_ends.iter())
            .all(|(chat, expected_ends)| {
                match (self.cursors.get(&chat.id), expected_ends.get(&self.member)) {
                    (_, None) => true,
                    (Some(read), Some((end, _))) => read >= end,
                    (None, Some((_, present))) => !present,
                }
            })
    }
}
