//! The stream of a member who leaves the organization.
use std::time::Duration;

use parta_proto_chat::v1::{
    self as pb, live_service_client::LiveServiceClient, subscribe_chats_response::Item,
};
use parta_proto_membership::v1::{MemberChanged, membership_event::Payload};
use parta_testkit::on_both;
use tonic::Code;

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
