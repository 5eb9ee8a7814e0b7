//! Readers: each follows a live stream, closes it at some count of entries, and resumes at any replica from
//! its cursors.
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parta_integration_tests::{Chance, Client};
use parta_proto::parta::chat::v1::{
    self as pb, entry::Content, live_service_client::LiveServiceClient, subscribe_chats_response::Item,
};
use tokio::sync::watch;
use tonic::Streaming;

use crate::consistency::{
    round::{Goals, Round},
    verdict::Track,
    writer::pause,
};

/// Time limit for reading the rest, once everything is written and no faults remain.
const PATIENCE: Duration = Duration::from_secs(45);

/// The entries that a reader received.
pub(crate) struct Read {
    /// Name of the stream, for messages.
    pub(crate) name: String,
    pub(crate) member: String,
    /// Received entries by chat.
    pub(crate) tracks: BTreeMap<usize, Track>,
}

struct Reader {
    round: Arc<Round>,
    client: Client,
    member: String,
    seeded_rng: Chance,
    cursors: BTreeMap<String, i64>,
    tracks: BTreeMap<usize, Track>,
}

/// The reason for the end of a stream.
enum End {
    Again,
    All,
}

/// Reads until all expected entries were received.
pub(crate) async fn read(
    round: Arc<Round>,
    (person, stream): (usize, usize),
    goals: watch::Receiver<Option<Arc<Goals>>>,
) -> Read {
    let who = &round.workload.people[person];
    let mut reader = Reader {
        client: who.client.on_its_own(),
        member: who.member_id.clone(),
        seeded_rng: round.seeded_rng("reader", person * round.size.streams + stream),
        cursors: BTreeMap::new(),
        tracks: BTreeMap::new(),
        round: round.clone(),
    };
    let mut known = goals.clone();
    let rest = async {
        _ = known.wait_for(Option::is_some).await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        () = reader.all(goals) => {}
        // The comparison with the log reports missing entries.
        () = rest => {}
    }
    Read {
        name: format!("stream {stream} of person {person}"),
        member: reader.member,
        tracks: reader.tracks,
    }
}

impl Reader {
    async fn all(&mut self, mut goals: watch::Receiver<Option<Arc<Goals>>>) {
        let mut first = true;
        loop {
            if let Some(stream) = self.open().await {
                if !first {
                    self.round.stats.reconnects.add();
                }
                if matches!(self.follow(stream, &mut goals, first).await, End::All) {
                    return;
                }
                first = false;
            }
            pause(&mut self.seeded_rng).await;
            if self.seeded_rng.one_in(3) {
                // Stay disconnected for a while.
                self.round.course().goes_on(&mut self.seeded_rng, 12).await;
            }
        }
    }

    async fn open(&mut self) -> Option<Streaming<pb::SubscribeChatsResponse>> {
        let cursors = self.cursors.iter().map(|(chat_id, seq)| pb::ChatCursor {
            chat_id: chat_id.clone(),
            seq: *seq,
        });
        let request = self.client.request(pb::SubscribeChatsRequest {
            org_id: self.client.org_id().unwrap().to_owned(),
            cursors: cursors.collect(),
        });
        let channel = self.client.channel(self.round.replica(&mut self.seeded_rng));
        let mut api = LiveServiceClient::new(channel);
        let opened = api.subscribe_chats(request);
        // A replica that is about to be killed may accept the call and not respond.
        let opened = tokio::time::timeout(PATIENCE, opened).await.ok()?;
        opened.ok().map(tonic::Response::into_inner)
    }

    async fn follow(
        &mut self,
        mut stream: Streaming<pb::SubscribeChatsResponse>,
        goals: &mut watch::Receiver<Option<Arc<Goals>>>,
        first: bool,
    ) -> End {
        let opened = Instant::now();
        let mut left = 5 + self.seeded_rng.below(120);
        while left > 0 {
            let item = tokio::select! {
                item = stream.message() => item,
                _ = goals.changed() => {
                    if self.has_all(goals) {
                        return End::All;
                    }
                    continue;
                }
            };
            match item {
                Ok(Some(response)) => match response.item {
                    Some(Item::Started(started)) => {
                        self.start(started);
                        if first {
                            self.round.listens();
                        }
                    }
                    Some(Item::Entry(entry)) => {
                        self.take(entry, opened);
                        left -= 1;
                    }
                    _ => continue,
                },
                Ok(None) | Err(_) => return End::Again,
            }
            if self.has_all(goals) {
                return End::All;
            }
        }
        End::Again
    }

    /// Records where the stream begins: after the cursor, or at the first entry of a chat that is new to the
    /// reader.
    fn start(&mut self, started: pb::SubscriptionStarted) {
        for pb::ChatCursor { chat_id, seq } in started.cursors {
            let Some(chat) = self.round.workload.number_of(&chat_id) else {
                self.cursors.entry(chat_id).or_insert(seq);
                continue;
            };
            match self.cursors.get(&chat_id) {
                Some(last) if *last != seq => {
                    let (member, last) = (&self.member, *last);
                    self.round.found(format!(
                        "{member}, who read chat {chat} up to {last}, goes on after {seq}"
                    ));
                }
                Some(_) => {}
                None => {
                    self.cursors.insert(chat_id, seq);
                    self.tracks.entry(chat).or_default().start = Some(seq);
                }
            }
        }
    }

    fn take(&mut self, entry: pb::Entry, opened: Instant) {
        self.round.stats.delivered.add();
        self.cursors.insert(entry.chat_id.clone(), entry.seq);
        let Some(chat) = self.round.workload.number_of(&entry.chat_id) else {
            return;
        };
        if matches!(entry.content, Some(Content::Message(_))) {
            self.round.arrived(chat, entry.seq, opened);
        }
        self.tracks
            .entry(chat)
            .or_default()
            .seen
            .push((entry.seq, entry.id));
    }

    fn has_all(&self, goals: &watch::Receiver<Option<Arc<Goals>>>) -> bool {
        let Some(goals) = goals.borrow().clone() else {
            return false;
        };
        self.round
            .workload
            .chats
            .iter()
            .zip(goals.iter())
            .all(
                |(chat, goals)| match (self.cursors.get(&chat.id), goals.get(&self.member)) {
                    (_, None) => true,
                    (Some(read), Some((end, _))) => read >= end,
                    (None, Some((_, present))) => !present,
                },
            )
    }
}
