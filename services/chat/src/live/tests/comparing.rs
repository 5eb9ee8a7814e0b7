//! One comparison for all streams of a replica, and logs that are not the ones of before.
use std::{sync::Arc, time::Duration};

use parta_feed::Bus;
use parta_grpc::ServiceChannel;
use parta_ids::{ChatId, MemberId, TypedId as _};
use parta_proto_chat::v1::{
    self as pb, ChatKind::*, live_service_client::LiveServiceClient, subscribe_chats_response::Item,
};
use parta_testkit::{on_both, on_postgres};
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::Streaming;

use super::streams::{LossyBus, Subscriber};
use crate::{Config, tests::school::*};

/// A second between the regular comparisons.
fn comparing_each_second() -> Config {
    Config {
        heartbeat_seconds: 1,
        ..Config::default()
    }
}

/// Longer than a test waits.
fn comparing_never() -> Config {
    Config {
        heartbeat_seconds: 60,
        ..Config::default()
    }
}

async fn subscribe(
    school: &School,
    channel: &ServiceChannel,
    member: MemberId,
    cursors: Vec<pb::ChatCursor>,
) -> Streaming<pb::SubscribeChatsResponse> {
    let request = pb::SubscribeChatsRequest {
        org_id: school.org.to_string(),
        cursors,
    };
    let request = school.fixture.request(school.org, member, request);
    let mut client = LiveServiceClient::new(channel.clone());
    client.subscribe_chats(request).await.unwrap().into_inner()
}

/// The next response that is no heartbeat, within 20 seconds.
async fn next(stream: &mut Streaming<pb::SubscribeChatsResponse>) -> Item {
    let next = async {
        loop {
            let response = stream.message().await.unwrap().expect("an open stream");
            match response.item.unwrap() {
                Item::Heartbeat(_) => {}
                item => return item,
            }
        }
    };
    let next = tokio::time::timeout(Duration::from_secs(20), next).await;
    next.expect("a response in time")
}

async fn started(stream: &mut Streaming<pb::SubscribeChatsResponse>, chat: ChatId) -> pb::ChatCursor {
    let Item::Started(started) = next(stream).await else {
        panic!("started")
    };
    let mut cursors = started.cursors.into_iter();
    cursors.find(|cursor| cursor.chat_id == chat.to_string()).unwrap()
}

async fn entry(stream: &mut Streaming<pb::SubscribeChatsResponse>) -> pb::Entry {
    match next(stream).await {
        Item::Entry(entry) => entry,
        other => panic!("no entry: {other:?}"),
    }
}

async fn reset(stream: &mut Streaming<pb::SubscribeChatsResponse>) -> pb::ChatCursor {
    match next(stream).await {
        Item::Reset(reset) => reset.cursor.unwrap(),
        other => panic!("no reset: {other:?}"),
    }
}

fn cursor(entry: &pb::Entry) -> pb::ChatCursor {
    pb::ChatCursor {
        chat_id: entry.chat_id.clone(),
        seq: entry.seq,
        entry_id: entry.id.clone(),
    }
}

/// Sends a message and returns it as it is read.
async fn sent(school: &School, chat: ChatId, text: &str) -> pb::Entry {
    school.send(school.classmate, chat, text).await.unwrap();
    school.read(school.classmate, chat).await.unwrap().pop().unwrap()
}

/// Runs a statement on the rows of a chat, as a restore of an older backup changes them.
async fn restore(school: &School, chat: ChatId, sql: &str) {
    let values = [school.org.uuid().into(), chat.uuid().into()];
    school
        .fixture
        .db
        .write(|tx| {
            let values = values.clone();
            async move {
                let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
                tx.execute_raw(statement).await?;
                Ok::<_, parta_database::StorageError>(())
            }
        })
        .await
        .unwrap();
}

/// Removes the last two entries of a chat.
async fn lose_two(school: &School, chat: ChatId) {
    let lost = "seq > (SELECT head_seq - 2 FROM chat WHERE org_id = $1 AND chat_id = $2)";
    let delete = format!("DELETE FROM entry WHERE org_id = $1 AND chat_id = $2 AND {lost}");
    restore(school, chat, &delete).await;
    let update = "UPDATE chat SET head_seq = head_seq - 2 WHERE org_id = $1 AND chat_id = $2";
    restore(school, chat, update).await;
}

// Invariant 3
// Covers: R43 allowed
on_both!(
    chat_begins_again_when_its_cursor_names_another_entry,
    |database| async move {
        parta_testkit::logs().allow("the log of a chat was replaced");
        let school = School::open_with(database, comparing_never()).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let local = &school.fixture.channel;
        let mut stream = subscribe(&school, local, school.pupil, Vec::new()).await;
        let before = started(&mut stream, class).await;
        let [one, two, three] = [
            sent(&school, class, "раз").await,
            sent(&school, class, "два").await,
            sent(&school, class, "три").await,
        ];
        assert_eq!(before.seq, one.seq - 1);

        // The first position has the id of its entry, with which the stream is resumed.
        let mut resumed = subscribe(&school, local, school.pupil, vec![before.clone()]).await;
        assert_eq!(started(&mut resumed, class).await, before);
        for wanted in [&one, &two, &three] {
            assert_eq!(entry(&mut resumed).await, *wanted);
        }

        lose_two(&school, class).await;
        // A replica that has not delivered the lost entries.
        let channel = school.fixture.replica(school.fixture.bus.clone()).await;
        // The cursor is above the head.
        let mut above = subscribe(&school, &channel, school.pupil, vec![cursor(&three)]).await;
        assert_eq!(started(&mut above, class).await, cursor(&one));
        assert_eq!(reset(&mut above).await, cursor(&one));
        // Other entries have taken the numbers.
        let other = sent(&school, class, "другое").await;
        assert_eq!((other.seq, entry(&mut above).await), (two.seq, other.clone()));
        let more = sent(&school, class, "ещё").await;
        let mut resumed = subscribe(&school, &channel, school.pupil, vec![cursor(&two)]).await;
        assert_eq!(started(&mut resumed, class).await, cursor(&more));
        assert_eq!(reset(&mut resumed).await, cursor(&more));
        let last = sent(&school, class, "последнее").await;
        assert_eq!(entry(&mut resumed).await, last);
        // A cursor of the restored log is good.
        let mut good = subscribe(&school, &channel, school.pupil, vec![cursor(&other)]).await;
        assert_eq!(started(&mut good, class).await, cursor(&other));
        assert_eq!(entry(&mut good).await, more);
    }
);

// Invariant 3
// Covers: R43 allowed
on_both!(
    open_stream_begins_a_chat_again_after_a_restore,
    |database| async move {
        parta_testkit::logs().allow("the log of a chat was replaced");
        let school = School::open_with(database, comparing_each_second()).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let local = &school.fixture.channel;
        let mut stream = subscribe(&school, local, school.pupil, Vec::new()).await;
        started(&mut stream, class).await;
        let mut delivered = Vec::new();
        for text in ["раз", "два", "три"] {
            sent(&school, class, text).await;
            delivered.push(entry(&mut stream).await);
        }
        lose_two(&school, class).await;
        assert_eq!(reset(&mut stream).await, cursor(&delivered[0]));
        let other = sent(&school, class, "другое").await;
        assert_eq!(entry(&mut stream).await, other);

        // The last entry is another one, with the same number.
        let id: parta_ids::EntryId = school.fixture.env.id();
        let id = if school.fixture.db.is_postgres() {
            format!("'{}'", id.uuid())
        } else {
            format!("X'{}'", id.uuid().simple())
        };
        let last = "seq = (SELECT head_seq FROM chat WHERE org_id = $1 AND chat_id = $2)";
        let update =
            format!("UPDATE entry SET entry_id = {id} WHERE org_id = $1 AND chat_id = $2 AND {last}");
        restore(&school, class, &update).await;
        let reset = reset(&mut stream).await;
        assert_eq!(reset.seq, other.seq);
        assert_ne!(reset.entry_id, other.id);
        // A stream that is opened now begins with the restored log.
        let mut late = subscribe(&school, local, school.pupil, vec![reset.clone()]).await;
        assert_eq!(started(&mut late, class).await, reset);
        let last = sent(&school, class, "конец").await;
        for stream in [&mut stream, &mut late] {
            assert_eq!(entry(stream).await, last);
        }
    }
);

// Invariant 3: an act whose commit succeeded, while the replica that ran it published nothing.
// Covers: R36 allowed, R43 allowed
on_both!(
    repeated_act_shows_a_chat_that_was_not_published,
    |database| async move {
        let school = School::open_with(database, comparing_never()).await;
        let mut other = Subscriber::open_local(&school, school.classmate, Default::default()).await;
        let request = pb::CreateDirectChatRequest {
            request_id: new_uuid(&school.fixture).to_string(),
            org_id: school.org.to_string(),
            member_id: school.classmate.to_string(),
        };
        let create = async |channel| {
            let request = school.fixture.request(school.org, school.pupil, request.clone());
            let mut client = pb::chat_service_client::ChatServiceClient::new(channel);
            let response = client.create_direct_chat(request).await.unwrap();
            response.into_inner().chat.unwrap().id
        };
        let dying: Arc<dyn Bus> = Arc::new(LossyBus);
        let made = create(school.fixture.replica(dying).await).await;
        let repeated = create(school.fixture.channel.clone()).await;
        assert_eq!(made, repeated);
        // A chat begins with the entry of the reader's joining.
        assert_eq!(other.next().await.chat_id, made);
        let chat: ChatId = made.parse().unwrap();
        school.send(school.pupil, chat, "привет").await.unwrap();
        assert_eq!(other.until("привет").await.len(), 1);
    }
);

// The same for a message, which is repeated on another replica.
// Covers: R39 allowed, R43 allowed
on_both!(
    repeated_message_that_was_not_published_is_delivered,
    |database| async move {
        let school = School::open_with(database, comparing_never()).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let mut other = Subscriber::open_local(&school, school.classmate, Default::default()).await;
        let request = pb::SendMessageRequest {
            request_id: new_uuid(&school.fixture).to_string(),
            org_id: school.org.to_string(),
            chat_id: class.to_string(),
            text: "дошло?".into(),
        };
        let send = async |channel| {
            let request = school.fixture.request(school.org, school.pupil, request.clone());
            let mut client = pb::message_service_client::MessageServiceClient::new(channel);
            client.send_message(request).await.unwrap().into_inner().entry_id
        };
        let dying: Arc<dyn Bus> = Arc::new(LossyBus);
        let stored = send(school.fixture.replica(dying).await).await;
        assert_eq!(send(school.fixture.channel.clone()).await, stored);
        assert_eq!(other.next().await.id, stored);
    }
);

on_postgres!(
    idle_streams_take_few_statements_while_the_bus_is_lost,
    "SQLite has no round trips to count, and the same tasks run",
    |database| async move {
        const CONNECTIONS: usize = 20;
        const STREAMS_OF_EACH: usize = 100;
        const SECONDS: usize = 10;
        let school = School::open(database).await;
        let counter = parta_testkit::StatementCounter::to(school.fixture.database.url()).await;
        let channels = school
            .fixture
            .replica_at(
                counter.url(),
                Arc::new(LossyBus),
                Duration::from_millis(100),
                CONNECTIONS,
            )
            .await;
        let members = [school.pupil, school.classmate, school.class_teacher, school.head];
        let opened = channels.into_iter().map(async |channel| {
            let mut subscribers = Vec::with_capacity(STREAMS_OF_EACH);
            for n in 0..STREAMS_OF_EACH {
                let member = members[n % members.len()];
                let opened = Subscriber::open(&school, channel.clone(), member, Default::default());
                subscribers.push(opened.await);
            }
            subscribers
        });
        let opened = futures::future::join_all(opened).await;
        let mut subscribers: Vec<_> = opened.into_iter().flatten().collect();
        let before = counter.count();
        let idle = subscribers
            .iter_mut()
            .map(|subscriber| subscriber.idle_for(SECONDS as u64));
        futures::future::join_all(idle).await;
        let per_second = (counter.count() - before) / SECONDS;
        assert!(per_second <= 20, "{per_second} statements a second");
        // The streams still get what the bus loses.
        let class = school.chat(school.pupil, ClassPupils).await;
        school.send(school.classmate, class, "без шины").await.unwrap();
        let last = subscribers.first_mut().unwrap();
        assert_eq!(text(&last.next().await), Some("без шины"));
    }
);
