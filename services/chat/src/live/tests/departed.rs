//! The stream of a member who leaves the organization or loses a role.
use std::{collections::BTreeMap, time::Duration};

use parta_proto_chat::v1::{
    self as pb, ChatKind::*, live_service_client::LiveServiceClient, subscribe_chats_response::Item,
};
use parta_proto_membership::v1::{MemberChanged, membership_event::Payload};
use parta_testkit::on_both;
use tonic::Code;

use super::streams::Subscriber;
use crate::{Config, tests::school::*};

/// Longer than the test waits for the end of the stream.
const HEARTBEAT_SECONDS: u64 = 60;

// Covers: R26 refused, R43 refused
on_both!(stream_ends_when_its_member_leaves, |database| async move {
    let config = Config {
        heartbeat_seconds: HEARTBEAT_SECONDS,
        ..Config::default()
    };
    let school = School::open_with(database, config).await;
    let request = pb::SubscribeChatsRequest {
        org_id: school.org.to_string(),
        cursors: Vec::new(),
    };
    let request = school.fixture.request(school.org, school.pupil, request);
    let mut client = LiveServiceClient::new(school.fixture.channel.clone());
    let mut stream = client.subscribe_chats(request).await.unwrap().into_inner();
    let left = MemberChanged {
        member_id: school.pupil.to_string(),
        state: MemberState::Left.into(),
        ..Default::default()
    };
    school.apply(vec![Payload::MemberChanged(left)]).await;
    let mut leavings = 0;
    let end = loop {
        let next = tokio::time::timeout(Duration::from_secs(HEARTBEAT_SECONDS / 2), stream.message());
        match next.await.expect("the stream ends before its heartbeat") {
            Ok(response) => match response.expect("an open stream").item {
                Some(Item::Entry(entry)) => {
                    assert!(matches!(entry.content, Some(pb::entry::Content::Leaving(_))));
                    leavings += 1;
                }
                Some(Item::Started(_)) => {}
                other => panic!("{other:?}"),
            },
            Err(status) => break status,
        }
    };
    assert_eq!(
        code::<()>(Err(end)),
        (Code::PermissionDenied, "PERMISSION_DENIED".to_owned())
    );
    assert!(leavings > 0, "the leaving is delivered before the end");
});

// The right to open a stream needs no role. The delivered entries follow the participation in each chat.
// Covers: R26 refused, R38 refused, R43 allowed, R43 refused
on_both!(stream_delivers_nothing_by_a_lost_role, |database| async move {
    let s = School::open(database).await;
    let roles = |roles: &[Role]| {
        Payload::MemberChanged(MemberChanged {
            member_id: s.class_teacher.to_string(),
            state: MemberState::Active.into(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            teacher_verified: roles.contains(&Role::Teacher),
            ..Default::default()
        })
    };
    s.apply(vec![roles(&[Role::Teacher, Role::Staff])]).await;
    let class = s.chat(s.class_teacher, ClassPupils).await;
    let staff = s.chat(s.class_teacher, StaffChannel).await;
    let mut stream = Subscriber::open_local(&s, s.class_teacher, BTreeMap::new()).await;
    s.send(s.pupil, class, "до").await.unwrap();
    stream.until("до").await;
    s.apply(vec![roles(&[Role::Staff])]).await;
    s.send(s.pupil, class, "после").await.unwrap();
    s.send(s.head, staff, "всем").await.unwrap();
    let mut of_class = stream.until("всем").await;
    of_class.retain(|entry| entry.chat_id == class.to_string());
    let leaving = Some((s.class_teacher.to_string(), false));
    assert_eq!(of_class.iter().map(mover).collect::<Vec<_>>(), [leaving]);
});

// The heartbeats of membership name the organization of which an ending is late. Chat refuses its calls, and
// its streams end too: the member may have lost the right to read.
// Covers: F1 refused, R43 refused
on_both!(stream_ends_when_an_ending_is_late, |database| async move {
    let config = Config {
        heartbeat_seconds: 1,
        ..Config::default()
    };
    let s = School::open_with(database, config).await;
    let request = pb::SubscribeChatsRequest {
        org_id: s.org.to_string(),
        cursors: Vec::new(),
    };
    let request = s.fixture.request(s.org, s.pupil, request);
    let mut client = LiveServiceClient::new(s.fixture.channel.clone());
    let mut stream = client.subscribe_chats(request).await.unwrap().into_inner();
    let mut heartbeats = 0;
    let end = loop {
        match stream.message().await {
            Ok(response) => {
                if let Some(Item::Heartbeat(_)) = response.unwrap().item {
                    heartbeats += 1;
                    if heartbeats == 2 {
                        s.fixture.report_overdue(s.org, Duration::from_secs(31));
                    }
                }
            }
            Err(status) => break status,
        }
    };
    assert!(heartbeats >= 2, "the stream stays open before");
    let stale = (Code::Unavailable, "PROJECTION_STALE".to_owned());
    assert_eq!(code::<()>(Err(end)), stale);
});
