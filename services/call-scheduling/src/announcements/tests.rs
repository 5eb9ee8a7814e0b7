//! R57: calls are announced in the chat of their unit.
use parta_proto_call_scheduling::v1::{self as pb, CallKind};
use parta_service_testkit::reason;
use parta_testkit::on_both;

use crate::tests::fixture::Fixture;

// Invariant 2: a call is announced once, with the rights of the caller. After a failure the call remains
// planned and the announcement can be retried.
// Covers: R57 allowed, R57 refused
on_both!(call_is_announced_once, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let wanted = pb::PlanCallRequest {
        announce: true,
        ..fixture.plan_request(CallKind::Lesson)
    };
    fixture.chat.set_down(true);
    let call = fixture.plan(s.teacher, wanted.clone()).await.unwrap();
    assert!(!call.announced && fixture.chat.posted().is_empty());
    assert_eq!(fixture.list(s.pupil).await.len(), 1);
    let announce = async |member| {
        let request = pb::AnnounceCallRequest {
            request_id: fixture.test_env.request_id(),
            org_id: s.org.to_string(),
            call_id: call.id.clone(),
        };
        fixture
            .client
            .clone()
            .announce_call(fixture.test_env.member_request(s.org, member, request))
            .await
    };
    assert_eq!(reason(&announce(s.teacher).await), "DEPENDENCY_UNAVAILABLE");
    fixture.chat.set_down(false);
    assert_eq!(reason(&announce(s.class_teacher).await), "PERMISSION_DENIED");
    assert!(
        announce(s.teacher)
            .await
            .unwrap()
            .into_inner()
            .call
            .unwrap()
            .announced
    );
    assert!(
        announce(s.administrator)
            .await
            .unwrap()
            .into_inner()
            .call
            .unwrap()
            .announced
    );
    let again = fixture.plan(s.teacher, wanted).await.unwrap();
    assert_eq!((again.id, again.announced), (call.id.clone(), true));
    let posted = fixture.chat.posted();
    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0].1, s.teacher);
    assert_eq!(posted[0].0.text, "Урок: «Дроби», 01.09.2026, 12:00");
    assert_eq!(posted[0].0.unit_id, s.class.to_string());
});
