//! Suspended members: their stream ends, their chats are silent, and everything is back when it is lifted.
use std::time::Duration;

use parta_ids::{ChatId, MemberId, SuspensionId};
use parta_proto_chat::v1::{self as pb, live_service_client::LiveServiceClient};
use parta_proto_membership::v1::{MemberReinstated, MemberSuspended, membership_event::Payload};
use parta_testkit::on_both;
use tonic::Code;

use crate::{Config, tests::school::*};

/// Longer than the test waits for the end of the stream.
const HEARTBEAT_SECONDS: u64 = 60;

async fn suspend(school: &School, member: MemberId, roles: &[Role]) -> SuspensionId {
    let suspension = school.fixture.env.id::<SuspensionId>();
    let suspended = MemberSuspended {
        suspension_id: suspension.to_string(),
        member_id: member.to_string(),
        roles: roles.iter().map(|role| i32::from(*role)).collect(),
    };
    school.apply(vec![Payload::MemberSuspended(suspended)]).await;
    suspension
}

async fn lift(school: &School, suspension: SuspensionId) {
    let reinstated = MemberReinstated {
        suspension_id: suspension.to_string(),
    };
    school.apply(vec![Payload::MemberReinstated(reinstated)]).await;
}

async fn direct(school: &School, one: MemberId, other: MemberId) -> ChatId {
    let request = pb::CreateDirectChatRequest {
        request_id: new_uuid(&school.fixture).to_string(),
        org_id: school.org.to_string(),
        member_id: other.to_string(),
    };
    let request = school.fixture.request(school.org, one, request);
    let made = school.chats().create_direct_chat(request).await.unwrap();
    made.into_inner().chat.unwrap().id.parse().unwrap()
}

async fn custom(school: &School, maker: MemberId, named: MemberId) -> ChatId {
    let request = pb::CreateChatRequest {
        request_id: new_uuid(&school.fixture).to_string(),
        org_id: school.org.to_string(),
        title: "Поход".into(),
        member_ids: vec![named.to_string()],
    };
    let request = school.fixture.request(school.org, maker, request);
    let made = school.chats().create_chat(request).await.unwrap();
    made.into_inner().chat.unwrap().id.parse().unwrap()
}

// Covers: R82 refused, F5 refused
on_both!(stream_ends_when_its_member_is_suspended, |database| async move {
    let config = Config {
        heartbeat_seconds: HEARTBEAT_SECONDS,
        ..Config::default()
    };
    let school = School::open_with(database, config).await;
    let request = pb::SubscribeChatsRequest {
        org_id: school.org.to_string(),
        cursors: Vec::new(),
    };
    let request = school
        .fixture
        .request(school.org, school.class_teacher, request.clone());
    let mut client = LiveServiceClient::new(school.fixture.channel.clone());
    let mut stream = client.subscribe_chats(request).await.unwrap().into_inner();
    suspend(&school, school.class_teacher, &[]).await;
    let end = loop {
        let next = tokio::time::timeout(Duration::from_secs(HEARTBEAT_SECONDS / 2), stream.message());
        if let Err(status) = next.await.expect("the stream ends before its heartbeat") {
            break status;
        }
    };
    let suspended = (Code::PermissionDenied, "MEMBER_SUSPENDED".to_owned());
    assert_eq!(code::<()>(Err(end)), suspended);
});

// Covers: R82 allowed, R82 refused, F5 allowed, F5 refused
on_both!(suspended_member_is_silent_and_comes_back, |database| async move {
    let school = School::open(database).await;
    let teacher = school.class_teacher;
    let personal = direct(&school, teacher, school.parent).await;
    let named = custom(&school, teacher, school.subject_teacher).await;
    let pupils = school.chat(teacher, pb::ChatKind::ClassPupils).await;
    let before = school.kinds(teacher).await;
    school.send(teacher, personal, "до").await.unwrap();
    let suspension = suspend(&school, teacher, &[]).await;
    let suspended = (Code::PermissionDenied, "MEMBER_SUSPENDED".to_owned());
    for chat in [personal, named, pupils] {
        assert_eq!(code(school.read(teacher, chat).await), suspended);
        assert_eq!(code(school.send(teacher, chat, "нет").await), suspended);
    }
    // Each sender of a batch gets its own refusal.
    let (absent, outsider) = tokio::join!(
        school.send(teacher, named, "нет"),
        school.send(school.parent, named, "нет"),
    );
    assert_eq!(code(absent), suspended);
    assert_eq!(code(outsider).0, Code::NotFound);
    let list = pb::ListChatsRequest {
        org_id: school.org.to_string(),
        ..Default::default()
    };
    let list = school.fixture.request(school.org, teacher, list);
    assert_eq!(code(school.chats().list_chats(list).await), suspended);
    // The other side reads, and writes to nobody who is absent.
    school.read(school.parent, personal).await.unwrap();
    let refused = code(school.send(school.parent, personal, "нет").await);
    assert_eq!(refused.0, Code::PermissionDenied);
    lift(&school, suspension).await;
    assert_eq!(school.kinds(teacher).await, before);
    for chat in [personal, named, pupils] {
        school.send(teacher, chat, "снова").await.unwrap();
    }
    school.send(school.parent, personal, "снова").await.unwrap();
});

// A suspension of a role that the member does not hold changes nothing, and one of a part of the roles
// leaves the others.
// Covers: R82 allowed, F4 allowed
on_both!(suspension_covers_only_its_roles, |database| async move {
    let school = School::open(database).await;
    let before = school.kinds(school.parent).await;
    suspend(&school, school.parent, &[Role::Teacher]).await;
    assert_eq!(school.kinds(school.parent).await, before);
});
