//! R43: live delivery, each entry once and in order.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parta_feed::Bus;
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1::{
    self as pb, ChatKind::*, live_service_client::LiveServiceClient, subscribe_chats_response::Item,
};
use parta_testkit::on_both;
use tonic::{Code, Streaming};

use crate::tests::school::*;

/// A subscriber that keeps its cursors, as a client does.
pub(super) struct Subscriber {
    stream: Streaming<pb::SubscribeChatsResponse>,
    pub(super) cursors: BTreeMap<String, i64>,
}

impl Subscriber {
    pub(super) async fn open(
        school: &School,
        channel: parta_grpc::ServiceChannel,
        member: MemberId,
        cursors: BTreeMap<String, i64>,
    ) -> Self {
        let requested = cursors.iter().map(|(chat_id, seq)| pb::ChatCursor {
            chat_id: chat_id.clone(),
            seq: *seq,
            ..Default::default()
        });
        let request = pb::SubscribeChatsRequest {
            org_id: school.org.to_string(),
            cursors: requested.collect(),
        };
        let request = school.fixture.request(school.org, member, request);
        let mut stream = LiveServiceClient::new(channel)
            .subscribe_chats(request)
            .await
            .unwrap()
            .into_inner();
        let Some(Item::Started(started)) = stream.message().await.unwrap().unwrap().item else {
            panic!("started")
        };
        let cursors = started.cursors.into_iter().map(|c| (c.chat_id, c.seq)).collect();
        Self { stream, cursors }
    }

    pub(super) async fn open_local(
        school: &School,
        member: MemberId,
        cursors: BTreeMap<String, i64>,
    ) -> Self {
        Self::open(school, school.fixture.channel.clone(), member, cursors).await
    }

    /// Returns the next entry within 20 seconds. Checks that it follows the last one of its chat.
    pub(super) async fn next(&mut self) -> pb::Entry {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.stream.message());
            let item = next
                .await
                .expect("an entry in time")
                .unwrap()
                .expect("an open stream")
                .item;
            if let Some(Item::Entry(entry)) = item {
                let last = self.cursors.insert(entry.chat_id.clone(), entry.seq);
                assert!(
                    last.is_none_or(|last| entry.seq == last + 1),
                    "{last:?} then {entry:?}"
                );
                return entry;
            }
        }
    }

    /// Reads for this many seconds and fails if an entry arrives.
    pub(super) async fn idle_for(&mut self, seconds: u64) {
        let next = tokio::time::timeout(Duration::from_secs(seconds), self.next());
        assert!(next.await.is_err(), "an entry");
    }

    pub(super) async fn until(&mut self, wanted: &str) -> Vec<pb::Entry> {
        let mut entries = vec![self.next().await];
        while entries.last().and_then(text) != Some(wanted) {
            entries.push(self.next().await);
        }
        entries
    }
}

// Invariant 3
// Covers: R43 allowed
on_both!(
    subscriber_gets_every_entry_once_in_order_when_reconnecting,
    |database| async move {
        let school = Arc::new(School::open(database).await);
        let class = school.chat(school.pupil, ClassPupils).await;
        let mut subscriber = Subscriber::open_local(&school, school.pupil, BTreeMap::new()).await;
        let writers = [school.pupil, school.classmate, school.class_teacher].map(|member| {
            let school = school.clone();
            school.clone().fixture.spawn(async move {
                for n in 0..40 {
                    school.send(member, class, &n.to_string()).await.unwrap();
                }
            })
        });
        let mut seen = Vec::new();
        for _ in 0..6 {
            for _ in 0..15 {
                seen.push(subscriber.next().await.seq);
            }
            // The stream is dropped with entries in flight. Only the cursors remain.
            let cursors = subscriber.cursors.clone();
            drop(subscriber);
            subscriber = Subscriber::open_local(&school, school.pupil, cursors).await;
        }
        for writer in writers {
            writer.await.unwrap();
        }
        school.send(school.pupil, class, "конец").await.unwrap();
        seen.extend(subscriber.until("конец").await.iter().map(|e| e.seq));
        let first = seen[0];
        assert_eq!(seen, (first..first + 121).collect::<Vec<_>>());
    }
);

// Invariant 5
// Covers: R38 refused, R43 refused
on_both!(
    subscriber_gets_nothing_after_the_own_removal,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let mut leaver = Subscriber::open_local(&school, school.pupil, BTreeMap::new()).await;
        let mut witness = Subscriber::open_local(&school, school.classmate, BTreeMap::new()).await;
        let before = leaver.cursors.clone();
        school.send(school.pupil, class, "до").await.unwrap();
        assert_eq!(text(&leaver.next().await), Some("до"));
        school.apply(vec![unenrolled(school.enrollment)]).await;
        school.send(school.classmate, class, "после").await.unwrap();
        let channel = school.chat(school.head, SchoolChannel).await;
        school.send(school.head, channel, "всем").await.unwrap();
        witness.until("после").await;
        let entries = leaver.until("всем").await;
        let left = Some(pb::entry::Content::Leaving(pb::Leaving {
            member_id: school.pupil.to_string(),
        }));
        let of_class: Vec<_> = entries
            .iter()
            .filter(|e| e.chat_id == class.to_string())
            .map(|e| e.content.clone())
            .collect();
        assert_eq!(of_class.first(), Some(&left));
        assert_eq!(of_class.len(), 1);
        // A member who resumes from before the removal gets its entry and no other.
        let mut late = Subscriber::open_local(&school, school.pupil, BTreeMap::new()).await;
        late.cursors.clear();
        let request = pb::SubscribeChatsRequest {
            org_id: school.org.to_string(),
            cursors: before
                .iter()
                .map(|(chat_id, seq)| pb::ChatCursor {
                    chat_id: chat_id.clone(),
                    seq: *seq,
                    ..Default::default()
                })
                .collect(),
        };
        let request = school.fixture.request(school.org, school.pupil, request);
        late.stream = LiveServiceClient::new(school.fixture.channel.clone())
            .subscribe_chats(request)
            .await
            .unwrap()
            .into_inner();
        let mut entries = late.until("всем").await;
        // Chats are replayed one after the other, before the first live entry.
        school.send(school.head, channel, "ещё").await.unwrap();
        entries.extend(late.until("ещё").await);
        let of_class: Vec<_> = entries
            .iter()
            .filter(|e| e.chat_id == class.to_string())
            .map(|e| e.content.clone())
            .collect();
        assert_eq!(of_class, [left]);
    }
);

// Invariants 3 and 5
// Covers: R38 refused, R43 allowed, R43 refused
on_both!(
    fanout_delivers_once_in_order_and_stops_at_the_leaving,
    |database| async move {
        let school = Arc::new(School::open(database).await);
        let class = school.chat(school.pupil, ClassPupils).await;
        let channel = school.chat(school.head, SchoolChannel).await;
        let (mut leavers, mut witnesses) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            leavers.push(Subscriber::open_local(&school, school.pupil, BTreeMap::new()).await);
            witnesses.push(Subscriber::open_local(&school, school.classmate, BTreeMap::new()).await);
        }
        let writing = (0..4).map(|writer| {
            let school = school.clone();
            async move {
                for n in 0..25 {
                    let text = format!("{writer} {n}");
                    school.send(school.classmate, class, &text).await.unwrap();
                }
            }
        });
        futures::future::join_all(writing).await;
        school.apply(vec![unenrolled(school.enrollment)]).await;
        school.send(school.classmate, class, "после").await.unwrap();
        school.send(school.head, channel, "конец").await.unwrap();
        for witness in &mut witnesses {
            // The subscriber checks the order in each chat. The two chats have no common order.
            let mut seen = BTreeMap::new();
            while !(seen.contains_key("после") && seen.contains_key("конец")) {
                let entry = witness.next().await;
                if let Some(text) = text(&entry) {
                    *seen.entry(text.to_owned()).or_insert(0) += 1;
                }
            }
            assert!(
                seen.len() == 102 && seen.values().all(|times| *times == 1),
                "{seen:?}"
            );
        }
        for leaver in &mut leavers {
            let (mut left, mut ended) = (false, false);
            while !(left && ended) {
                let entry = leaver.next().await;
                if entry.chat_id == class.to_string() {
                    assert!(!left, "entry after the leaving: {entry:?}");
                    left = matches!(entry.content, Some(pb::entry::Content::Leaving(_)));
                } else {
                    ended |= text(&entry) == Some("конец");
                }
            }
        }
    }
);

// Covers: R38 allowed, R43 allowed
on_both!(
    new_participant_gets_the_joining_entry_first,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let mut subscriber = Subscriber::open_local(&school, school.other_pupil, BTreeMap::new()).await;
        school
            .apply(vec![enrolled(
                school.fixture.env.id(),
                school.other_pupil,
                school.class,
            )])
            .await;
        school.send(school.pupil, class, "здравствуй").await.unwrap();
        let entries = subscriber.until("здравствуй").await;
        let joined = pb::entry::Content::Joining(pb::Joining {
            member_id: school.other_pupil.to_string(),
        });
        assert_eq!(entries[0].content, Some(joined));
    }
);

// Invariant 5
// Covers: R38 refused, R43 refused
on_both!(
    reconnecting_member_gets_no_entries_of_the_absence,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let away = Subscriber::open_local(&school, school.pupil, BTreeMap::new()).await;
        let cursors = away.cursors.clone();
        let last = cursors[&class.to_string()];
        drop(away);
        school.send(school.classmate, class, "при нём").await.unwrap();
        school.apply(vec![unenrolled(school.enrollment)]).await;
        school.send(school.classmate, class, "без него").await.unwrap();
        // The pupil joins, leaves and joins again.
        for text in ["снова", "наконец"] {
            let enrollment = school.fixture.env.id();
            let again = enrolled(enrollment, school.pupil, school.class);
            school.apply(vec![again]).await;
            school.send(school.classmate, class, text).await.unwrap();
            if text == "снова" {
                school.apply(vec![unenrolled(enrollment)]).await;
                school
                    .send(school.classmate, class, "опять без него")
                    .await
                    .unwrap();
            }
        }
        let request = pb::SubscribeChatsRequest {
            org_id: school.org.to_string(),
            cursors: vec![pb::ChatCursor {
                chat_id: class.to_string(),
                seq: last,
                ..Default::default()
            }],
        };
        let mut back = Subscriber::open_local(&school, school.pupil, BTreeMap::new()).await;
        back.cursors.clear();
        back.stream = LiveServiceClient::new(school.fixture.channel.clone())
            .subscribe_chats(school.fixture.request(school.org, school.pupil, request))
            .await
            .unwrap()
            .into_inner();
        let mut entries = Vec::new();
        while entries.last().and_then(text) != Some("наконец") {
            let Some(Item::Entry(entry)) = back.stream.message().await.unwrap().unwrap().item else {
                continue;
            };
            if entry.chat_id == class.to_string() {
                entries.push(entry);
            }
        }
        let offsets: Vec<i64> = entries.iter().map(|e| e.seq - last).collect();
        assert_eq!(offsets, [1, 2, 4, 5, 6, 8, 9], "{entries:?}");
    }
);

// Several replicas, with buses that lose entries.
// Covers: R43 allowed
on_both!(
    replica_delivers_entries_of_another_when_the_bus_loses_them,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let shared = school.fixture.replica(school.fixture.bus.clone()).await;
        let mut subscriber = Subscriber::open(&school, shared, school.pupil, BTreeMap::new()).await;
        for n in 0..20 {
            school
                .send(school.classmate, class, &n.to_string())
                .await
                .unwrap();
        }
        school.send(school.classmate, class, "всё").await.unwrap();
        assert_eq!(subscriber.until("всё").await.len(), 21);

        let lossy: Arc<dyn Bus> = Arc::new(CounterOnlyBus(school.fixture.bus.clone()));
        let apart = school.fixture.replica(lossy).await;
        let mut subscriber = Subscriber::open(&school, apart, school.pupil, BTreeMap::new()).await;
        for n in 0..20 {
            school
                .send(school.classmate, class, &n.to_string())
                .await
                .unwrap();
        }
        school.send(school.classmate, class, "и это").await.unwrap();
        assert_eq!(
            subscriber.until("и это").await.len(),
            21,
            "the counter shows the loss, the database has the entries"
        );

        let frame_timeout = Duration::from_millis(100);
        let apart = school
            .fixture
            .replica_with(Arc::new(LossyBus), frame_timeout)
            .await;
        let mut subscriber = Subscriber::open(&school, apart, school.pupil, BTreeMap::new()).await;
        school.send(school.classmate, class, "и без шины").await.unwrap();
        assert_eq!(subscriber.until("и без шины").await.len(), 1, "without any frame");
    }
);

/// A bus that loses every frame.
pub(super) struct LossyBus;

#[async_trait::async_trait]
impl Bus for LossyBus {
    async fn publish(&self, _: &str, _: bytes::Bytes) -> Result<(), parta_feed::BusError> {
        Ok(())
    }
    async fn subscribe(
        &self,
        _: &str,
    ) -> Result<futures::stream::BoxStream<'static, bytes::Bytes>, parta_feed::BusError> {
        Ok(Box::pin(futures::stream::pending()))
    }
}

/// A bus that loses every frame with an entry.
struct CounterOnlyBus(Arc<dyn Bus>);

#[async_trait::async_trait]
impl Bus for CounterOnlyBus {
    async fn publish(&self, _: &str, _: bytes::Bytes) -> Result<(), parta_feed::BusError> {
        Ok(())
    }
    async fn subscribe(
        &self,
        subject: &str,
    ) -> Result<futures::stream::BoxStream<'static, bytes::Bytes>, parta_feed::BusError> {
        use futures::StreamExt;
        let frames = self.0.subscribe(subject).await?;
        // A frame with only a counter is shorter than any entry.
        Ok(frames
            .filter(|frame| std::future::ready(frame.len() < 40))
            .boxed())
    }
}

// Covers: R43 allowed, R43 refused
on_both!(
    slow_subscriber_is_disconnected_and_resumes,
    |database| async move {
        let config = crate::Config {
            live_queue: 4,
            ..crate::Config::default()
        };
        let school = Arc::new(School::open_with(database, config).await);
        let class = school.chat(school.pupil, ClassPupils).await;
        let mut subscriber = Subscriber::open_local(&school, school.pupil, BTreeMap::new()).await;
        let before = subscriber.cursors[&class.to_string()];
        let long = "я".repeat(4_000);
        for _ in 0..800 {
            school.send(school.classmate, class, &long).await.unwrap();
        }
        let status = loop {
            match subscriber.stream.message().await {
                Ok(Some(response)) => {
                    if let Some(Item::Entry(entry)) = response.item {
                        subscriber.cursors.insert(entry.chat_id, entry.seq);
                    }
                }
                Ok(None) => panic!("the stream ended without a reason"),
                Err(status) => break status,
            }
        };
        assert_eq!(
            code(Err::<(), _>(status)),
            (Code::Unavailable, "SLOW_READER".into())
        );
        let mut resumed = Subscriber::open_local(&school, school.pupil, subscriber.cursors.clone()).await;
        while resumed.cursors[&class.to_string()] < before + 800 {
            resumed.next().await;
        }
    }
);

// Covers: R43 refused, R59 refused
on_both!(
    subscription_is_validated_and_limited_to_one_organization,
    |database| async move {
        let school = School::open(database).await;
        let mut client = LiveServiceClient::new(school.fixture.channel.clone());
        let request = pb::SubscribeChatsRequest {
            org_id: school.org.to_string(),
            cursors: Vec::new(),
        };
        let outside = school
            .fixture
            .request(school.fixture.env.id(), school.pupil, request.clone());
        assert_eq!(
            client.subscribe_chats(outside).await.unwrap_err().code(),
            Code::NotFound
        );
        let staff: ChatId = school.chat(school.head, StaffChannel).await;
        let cursors = vec![
            pb::ChatCursor {
                chat_id: staff.to_string(),
                ..Default::default()
            };
            2
        ];
        let twice = school.fixture.request(
            school.org,
            school.pupil,
            pb::SubscribeChatsRequest {
                cursors: cursors.clone(),
                ..request.clone()
            },
        );
        assert_eq!(
            client.subscribe_chats(twice).await.unwrap_err().code(),
            Code::InvalidArgument
        );
        // A cursor of a chat in which the member never participated is ignored.
        let others = school.fixture.request(
            school.org,
            school.pupil,
            pb::SubscribeChatsRequest {
                cursors: cursors[..1].to_vec(),
                ..request
            },
        );
        let mut stream = client.subscribe_chats(others).await.unwrap().into_inner();
        let Some(Item::Started(started)) = stream.message().await.unwrap().unwrap().item else {
            panic!("started")
        };
        assert!(started.cursors.iter().all(|c| c.chat_id != staff.to_string()));
    }
);
