//! R57, F25: calls are announced in the chats of their audience.
use parta_proto_call_scheduling::v1::{self as pb, CallKind};
use parta_proto_chat::v1::ErrorReason;
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

// Case 27: a parent meeting addresses the parents, a school event the families, and a meeting of the staff
// nobody else.
// Covers: F25 allowed
on_both!(announcement_addresses_the_audience, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    for (kind, organizer, unit, expected) in [
        (CallKind::Lesson, s.teacher, s.class, (true, false)),
        (CallKind::ParentMeeting, s.class_teacher, s.class, (false, true)),
        (CallKind::Excursion, s.teacher, s.class, (true, true)),
        (CallKind::SchoolEvent, s.administrator, s.staff_room, (true, true)),
        (
            CallKind::WorkingMeeting,
            s.unverified,
            s.staff_room,
            (false, false),
        ),
    ] {
        let wanted = pb::PlanCallRequest {
            announce: true,
            unit_id: unit.to_string(),
            ..fixture.plan_request(kind)
        };
        assert!(fixture.plan(organizer, wanted).await.unwrap().announced);
        let (posted, _) = fixture.chat.posted().pop().unwrap();
        assert_eq!((posted.pupils, posted.parents), expected, "{kind:?}");
        assert_eq!(posted.unit_id, unit.to_string());
    }
});

// A refusal by chat is final: it was returned as UNAVAILABLE, so that a client repeated it for ever.
// Covers: F25 refused, F17 refused
on_both!(refusal_of_chat_is_explained, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let call = fixture
        .plan(s.teacher, fixture.plan_request(CallKind::Lesson))
        .await
        .unwrap();
    for (reason_of_chat, expected) in [
        (
            ErrorReason::AnnouncementReachesNobody,
            "ANNOUNCEMENT_REACHES_NOBODY",
        ),
        (ErrorReason::ChatArchived, "UNIT_ARCHIVED"),
        (ErrorReason::ChatReadOnly, "PERMISSION_DENIED"),
    ] {
        fixture.chat.refuse(reason_of_chat);
        let request = pb::AnnounceCallRequest {
            request_id: fixture.test_env.request_id(),
            org_id: s.org.to_string(),
            call_id: call.id.clone(),
        };
        let request = fixture.test_env.member_request(s.org, s.teacher, request);
        let refused = fixture.client.clone().announce_call(request).await;
        assert_eq!(reason(&refused), expected);
    }
});
