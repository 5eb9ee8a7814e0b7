//! The visibility of calls (R49).
use parta_ids::MemberId;
use parta_proto_call_scheduling::v1::{self as pb, CallKind};
use parta_proto_membership::v1::{RelationLimit, RelationLimited, membership_event::Payload as Membership};
use parta_service_testkit::{School, reason};
use parta_testkit::on_both;

use crate::tests::fixture::{Fixture, count, timestamp};

/// Counts the occurrences that a member sees, and those of them that the member may join.
async fn visible_and_joinable(fixture: &Fixture, member: MemberId) -> (usize, usize) {
    let all = fixture.list(member).await;
    (all.len(), all.iter().filter(|o| o.may_join).count())
}

// Pupils, parents and teachers see calls of their audience. The administration sees all.
// Covers: R49 allowed, R49 refused, R50 allowed
on_both!(calls_are_visible_to_their_audience, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    fixture.lesson(|_| ()).await;
    fixture
        .plan(s.class_teacher, fixture.plan_request(CallKind::ParentMeeting))
        .await
        .unwrap();
    let meeting = pb::PlanCallRequest {
        unit_id: s.staff_room.to_string(),
        ..fixture.plan_request(CallKind::WorkingMeeting)
    };
    fixture.plan(s.unverified, meeting).await.unwrap();
    assert_eq!(visible_and_joinable(&fixture, s.pupil).await, (1, 1));
    // A parent sees the lesson of the child and cannot join it.
    assert_eq!(visible_and_joinable(&fixture, s.parent).await, (2, 1));
    assert_eq!(visible_and_joinable(&fixture, s.class_teacher).await, (3, 3));
    assert_eq!(visible_and_joinable(&fixture, s.teacher).await, (3, 3));
    assert_eq!(visible_and_joinable(&fixture, s.unverified).await, (1, 1));
    assert_eq!(visible_and_joinable(&fixture, s.stranger).await, (1, 1));
    assert_eq!(visible_and_joinable(&fixture, s.other_pupil).await, (0, 0));
    // A member of the staff who is not cleared is in no call with pupils.
    assert_eq!(visible_and_joinable(&fixture, s.administrator).await, (3, 2));
});

// An individual consultation is visible to the named members and to the parents of a named pupil.
// Covers: R49 allowed, R49 refused
on_both!(consultation_is_visible_to_named_people, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let classmate: MemberId = fixture.test_env.env.id();
    let (role, state) = (1, 2);
    let (role, state) = (role.try_into().unwrap(), state.try_into().unwrap());
    s.admit(&fixture.test_env, classmate, role, state, false).await;
    s.enroll(&fixture.test_env, classmate, s.class).await;
    let wanted = pb::PlanCallRequest {
        participant_ids: vec![classmate.to_string()],
        ..fixture.plan_request(CallKind::Consultation)
    };
    let call = fixture.plan(s.teacher, wanted).await.unwrap();
    assert_eq!(visible_and_joinable(&fixture, classmate).await, (1, 1));
    assert_eq!(visible_and_joinable(&fixture, s.teacher).await, (1, 1));
    assert_eq!(visible_and_joinable(&fixture, s.pupil).await, (0, 0));
    assert_eq!(visible_and_joinable(&fixture, s.parent).await, (0, 0));
    assert_eq!(reason(&fixture.join(s.pupil, &call).await), "PERMISSION_DENIED");
});

// A transferred pupil sees and joins the calls of the new class and no longer those of the old one.
// Covers: R26 allowed, R26 refused
on_both!(transfer_changes_future_calls_at_once, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let pupil: MemberId = fixture.test_env.env.id();
    s.admit(
        &fixture.test_env,
        pupil,
        1.try_into().unwrap(),
        2.try_into().unwrap(),
        false,
    )
    .await;
    let enrollment = s.enroll(&fixture.test_env, pupil, s.class).await;
    let call = fixture.lesson(|w| w.weekly = count(4)).await;
    fixture.test_env.time.set("2026-09-01T09:00:00Z".parse().unwrap());
    assert_eq!(reason(&fixture.join(pupil, &call).await), "OK");
    assert_eq!(visible_and_joinable(&fixture, pupil).await.0, 4);
    s.end_enrollment(&fixture.test_env, enrollment).await;
    s.enroll(&fixture.test_env, pupil, s.other_class).await;
    assert_eq!(reason(&fixture.join(pupil, &call).await), "PERMISSION_DENIED");
    assert_eq!(visible_and_joinable(&fixture, pupil).await.0, 0);
    let other = pb::PlanCallRequest {
        unit_id: s.other_class.to_string(),
        ..fixture.plan_request(CallKind::Lesson)
    };
    let other = fixture.plan(s.stranger, other).await.unwrap();
    assert_eq!(reason(&fixture.join(pupil, &other).await), "OK");
});

// Covers: R59 refused
on_both!(other_organization_cannot_see_calls, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let other = School::create(&fixture.test_env).await;
    let call = fixture.lesson(|_| ()).await;
    for org in [s.org, other.org] {
        let get = pb::GetCallRequest {
            org_id: org.to_string(),
            call_id: call.id.clone(),
        };
        let get = fixture
            .test_env
            .member_request(other.org, other.administrator, get);
        assert_eq!(reason(&fixture.client.clone().get_call(get).await), "NOT_FOUND");
        let token = pb::IssueJoinTokenRequest {
            org_id: org.to_string(),
            call_id: call.id.clone(),
            start_time: call.start_time,
        };
        let token = fixture
            .test_env
            .member_request(other.org, other.administrator, token);
        assert_eq!(
            reason(&fixture.client.clone().issue_join_token(token).await),
            "NOT_FOUND"
        );
    }
    let foreign = pb::PlanCallRequest {
        unit_id: other.staff_room.to_string(),
        ..fixture.plan_request(CallKind::Seminar)
    };
    assert_eq!(reason(&fixture.plan(s.administrator, foreign).await), "NOT_FOUND");
    let get = pb::GetCallRequest {
        org_id: s.org.to_string(),
        call_id: call.id.clone(),
    };
    let get = fixture.test_env.member_request(s.org, s.other_pupil, get);
    assert_eq!(
        reason(&fixture.client.clone().get_call(get).await),
        "PERMISSION_DENIED"
    );
});

// The time window is limited, pages are contiguous, and a page token is bound to its list.
// Covers: R51 allowed, R51 refused
on_both!(occurrences_are_paged, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    fixture.lesson(|w| w.weekly = count(5)).await;
    fixture.lesson(|w| w.weekly = count(5)).await;
    let list = |end: &str, page_token: &str| {
        let request = pb::ListOccurrencesRequest {
            org_id: s.org.to_string(),
            window_start_time: timestamp("2026-09-01T00:00:00Z"),
            window_end_time: timestamp(end),
            page_size: 4,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        let (mut client, request) = (
            fixture.client.clone(),
            fixture.test_env.member_request(s.org, s.pupil, request),
        );
        async move { client.list_occurrences(request).await }
    };
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = list("2026-12-01T00:00:00Z", &token).await.unwrap().into_inner();
        assert!(page.occurrences.len() <= 4);
        found.extend(
            page.occurrences
                .into_iter()
                .map(|o| (o.start_time.unwrap().seconds, o.call_id)),
        );
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found.len(), 10);
    assert!(found.is_sorted() && found.windows(2).all(|w| w[0] != w[1]));
    let first = list("2026-12-01T00:00:00Z", "")
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    assert_eq!(
        reason(&list("2026-11-01T00:00:00Z", &first).await),
        "FIELD_INVALID"
    );
    assert_eq!(reason(&list("2027-09-03T00:00:00Z", "").await), "FIELD_INVALID");
    assert_eq!(reason(&list("2026-09-01T00:00:00Z", "").await), "FIELD_INVALID");
});

// A limit toward a child wins over every other ground in the calls of the child's class.
// Covers: R49 refused, F13 allowed, F13 refused
on_both!(limit_hides_the_calls_of_the_child, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    fixture.lesson(|_| ()).await;
    let limit = async |guardian: MemberId, limits: &[RelationLimit]| {
        let limited = RelationLimited {
            guardian_id: guardian.to_string(),
            child_id: s.pupil.to_string(),
            limits: limits.iter().map(|limit| (*limit).into()).collect(),
        };
        let payload = Membership::RelationLimited(limited);
        fixture.test_env.apply_membership(s.org, payload).await;
    };
    assert_eq!(visible_and_joinable(&fixture, s.parent).await, (1, 0));
    limit(s.parent, &[RelationLimit::NoDecisions]).await;
    assert_eq!(visible_and_joinable(&fixture, s.parent).await, (1, 0));
    limit(s.parent, &[RelationLimit::NoWhereabouts]).await;
    assert_eq!(visible_and_joinable(&fixture, s.parent).await, (0, 0));
    assert_eq!(visible_and_joinable(&fixture, s.teacher).await, (1, 1));
    limit(s.teacher, &[RelationLimit::NoContact]).await;
    assert_eq!(visible_and_joinable(&fixture, s.teacher).await, (1, 0));
    limit(s.teacher, &[RelationLimit::Ended]).await;
    assert_eq!(visible_and_joinable(&fixture, s.teacher).await, (0, 0));
    limit(s.teacher, &[]).await;
    assert_eq!(visible_and_joinable(&fixture, s.teacher).await, (1, 1));
});
