//! R43: a stream is correct in whatever order entries arrive.
use std::{collections::HashMap, sync::Arc, time::Duration};

use parta_access::OrgScope;
use parta_feed::{Freshness, LocalBus};
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1::{self as pb, ChatKind::*, SubscribeChatsResponse, subscribe_chats_response::Item};
use parta_roster::Roster;
use parta_testkit::on_both;
use prost::Message as _;
use tokio::sync::Semaphore;

use crate::{
    entries::{self, Entry, EntrySink as _},
    live::{FRAME_TIMEOUT, Live, REPLAYS_MAX, Settings, subscribe},
    tests::school::*,
};

/// The entries of a chat after a sequence number, as the writer publishes them.
async fn entries_after(school: &School, member: MemberId, chat: ChatId, after: i64) -> Vec<Entry> {
    let (conn, scope) = (school.fixture.db.conn(), scope(school));
    let membership = entries::find_membership(conn, &scope, chat, member)
        .await
        .unwrap();
    let membership = membership.unwrap();
    let range = (after, membership.chat.head_seq);
    entries::list_entries(conn, &scope, membership.log(), range, false, 10)
        .await
        .unwrap()
}

fn scope(school: &School) -> OrgScope {
    OrgScope::for_consumer("test", school.org)
}

// Invariant 5
// Covers: R38 refused, R43 refused
on_both!(
    leaving_ends_the_chat_when_it_arrives_late,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let channel = school.chat(school.head, SchoolChannel).await;
        // A separate replica, to which the test publishes the entries.
        let live = Live::new(
            new_uuid(&school.fixture),
            Arc::new(LocalBus::single_replica()),
            512,
            FRAME_TIMEOUT,
        );
        let fresh = Freshness::always;
        let settings = Settings {
            db: school.fixture.db.clone(),
            live: live.clone(),
            roster: Roster::new(fresh("org-registry"), fresh("membership")),
            heartbeat: Duration::from_secs(60),
            replays: Semaphore::new(REPLAYS_MAX),
        };
        let opened = subscribe(Arc::new(settings), scope(&school), school.pupil, HashMap::new());
        let mut subscription = opened.await.unwrap();
        let mut next = async || {
            let bytes = tokio::time::timeout(Duration::from_secs(20), subscription.next());
            let bytes = bytes.await.expect("an entry in time").unwrap();
            SubscribeChatsResponse::decode(bytes).unwrap().item
        };
        let Some(Item::Started(started)) = next().await else {
            panic!("started")
        };
        let head = |chat: ChatId| {
            let mut cursors = started.cursors.iter();
            cursors.find(|c| c.chat_id == chat.to_string()).unwrap().seq
        };
        school.apply(vec![unenrolled(school.enrollment)]).await;
        school.send(school.classmate, class, "после").await.unwrap();

        // The message after the leaving arrives first, and both before the stream reads its queue.
        let mut late = entries_after(&school, school.classmate, class, head(class)).await;
        assert_eq!(late.len(), 2);
        late.reverse();
        live.publish(late);
        let mut of_class = Vec::new();
        // After these entries the stream has delivered all entries of the class.
        for last in ["конец", "ещё"] {
            let sent = school.send(school.head, channel, last).await.unwrap();
            live.publish(entries_after(&school, school.head, channel, sent.seq - 1).await);
            loop {
                let Some(Item::Entry(entry)) = next().await else {
                    continue;
                };
                if entry.chat_id == class.to_string() {
                    of_class.push(entry.content);
                } else if text(&entry) == Some(last) {
                    break;
                }
            }
        }
        let left = pb::entry::Content::Leaving(pb::Leaving {
            member_id: school.pupil.to_string(),
        });
        assert_eq!(of_class, [Some(left)]);
    }
);
