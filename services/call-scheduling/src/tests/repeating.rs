//! Repeated mutations are authorized before they return an outcome, and their records contain no names. The
//! organization does not exist for a member who has left.
use parta_ids::{CallId, MemberId, TypedId as _, Uuid};
use parta_proto_call_scheduling::v1::{self as pb, CallKind};
use parta_proto_membership::v1::{MemberChanged, MemberState, membership_event::Payload};
use parta_service_testkit::reason;
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::Code;

use crate::tests::fixture::{Fixture, count, timestamp};

async fn remove_member(fixture: &Fixture, member: MemberId) {
    let changed = MemberChanged {
        member_id: member.to_string(),
        state: MemberState::Left.into(),
        ..Default::default()
    };
    let org = fixture.school.org;
    fixture
        .test_env
        .apply_membership(org, Payload::MemberChanged(changed))
        .await;
}

fn cancellation(fixture: &Fixture, call: &pb::Call, etag: &str) -> pb::CancelCallRequest {
    pb::CancelCallRequest {
        request_id: fixture.test_env.request_id(),
        org_id: fixture.school.org.to_string(),
        call_id: call.id.clone(),
        etag: etag.to_owned(),
    }
}

async fn cancel(
    fixture: &Fixture,
    request: &pb::CancelCallRequest,
) -> Result<pb::CancelCallResponse, tonic::Status> {
    let s = fixture.school;
    let request = fixture.test_env.member_request(s.org, s.teacher, request.clone());
    Ok(fixture.client.clone().cancel_call(request).await?.into_inner())
}

// Covers: R59 refused
on_both!(member_who_left_gets_not_found_everywhere, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let call = fixture.lesson(|w| w.weekly = count(2)).await;
    remove_member(&fixture, s.teacher).await;
    let by_teacher = |request| fixture.test_env.member_request(s.org, s.teacher, request);
    let get = pb::GetCallRequest {
        org_id: s.org.to_string(),
        call_id: call.id.clone(),
    };
    let list = pb::ListOccurrencesRequest {
        org_id: s.org.to_string(),
        window_start_time: timestamp("2026-09-01T00:00:00Z"),
        window_end_time: timestamp("2026-09-02T00:00:00Z"),
        ..Default::default()
    };
    let announce = pb::AnnounceCallRequest {
        request_id: fixture.test_env.request_id(),
        org_id: s.org.to_string(),
        call_id: call.id.clone(),
    };
    let list = fixture.test_env.member_request(s.org, s.teacher, list);
    let announce = fixture.test_env.member_request(s.org, s.teacher, announce);
    let refusals = [
        (
            "PlanCall",
            fixture
                .plan(s.teacher, fixture.plan_request(CallKind::Lesson))
                .await
                .err(),
        ),
        (
            "GetCall",
            fixture.client.clone().get_call(by_teacher(get)).await.err(),
        ),
        (
            "ListOccurrences",
            fixture.client.clone().list_occurrences(list).await.err(),
        ),
        ("CancelCall", fixture.cancel(s.teacher, &call).await.err()),
        (
            "CancelOccurrence",
            fixture
                .cancel_occurrence(s.teacher, &call, call.start_time)
                .await
                .err(),
        ),
        (
            "AnnounceCall",
            fixture.client.clone().announce_call(announce).await.err(),
        ),
        ("IssueJoinToken", fixture.join(s.teacher, &call).await.err()),
    ];
    let codes: Vec<_> = refusals
        .iter()
        .map(|(rpc, status)| (*rpc, status.as_ref().map(tonic::Status::code)))
        .collect();
    let expected: Vec<_> = refusals
        .iter()
        .map(|(rpc, _)| (*rpc, Some(Code::NotFound)))
        .collect();
    assert_eq!(codes, expected);
});

// Covers: R51 allowed, R51 refused
on_both!(repeated_cancellation_is_authorized_again, |database| async move {
    let fixture = Fixture::open(&database).await;
    let call = fixture.lesson(|_| ()).await;
    let request = cancellation(&fixture, &call, &call.etag);
    let first = cancel(&fixture, &request).await.unwrap();
    // The etag is that of the state before the first call. The repetition succeeds nevertheless.
    let again = cancel(&fixture, &request).await.unwrap();
    assert_eq!(again, first);
    let other = pb::CancelCallRequest {
        etag: String::new(),
        ..request.clone()
    };
    assert_eq!(reason(&cancel(&fixture, &other).await), "REQUEST_ID_REUSED");
    remove_member(&fixture, fixture.school.teacher).await;
    assert_eq!(reason(&cancel(&fixture, &request).await), "NOT_FOUND");
    assert_eq!(reason(&cancel(&fixture, &other).await), "NOT_FOUND");
});

// Covers: R57 allowed, R57 refused
on_both!(repeated_announcement_is_authorized_again, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let call = fixture.lesson(|_| ()).await;
    let request = pb::AnnounceCallRequest {
        request_id: fixture.test_env.request_id(),
        org_id: s.org.to_string(),
        call_id: call.id.clone(),
    };
    let announce = async || {
        let request = fixture.test_env.member_request(s.org, s.teacher, request.clone());
        fixture.client.clone().announce_call(request).await
    };
    // A repetition finishes an announcement that chat did not accept.
    fixture.chat.set_down(true);
    assert_eq!(reason(&announce().await), "DEPENDENCY_UNAVAILABLE");
    fixture.chat.set_down(false);
    for _ in 0..2 {
        let response = announce().await.unwrap().into_inner();
        assert!(response.call.unwrap().announced && !response.consistency_token.is_empty());
    }
    assert_eq!(fixture.chat.posted().len(), 1);
    // The administration cancels the call. A repeated announcement returns the current call.
    fixture.cancel(s.administrator, &call).await.unwrap();
    let shown = announce().await.unwrap().into_inner().call.unwrap();
    assert_eq!((shown.announced, shown.state()), (true, pb::CallState::Canceled));
    remove_member(&fixture, s.teacher).await;
    assert_eq!(reason(&announce().await), "NOT_FOUND");
});

// Covers: R49 refused
on_both!(
    repeated_planning_returns_the_current_call,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let s = fixture.school;
        let request = fixture.plan_request(CallKind::Lesson);
        let call = fixture.plan(s.teacher, request.clone()).await.unwrap();
        // The golden form of the outcome, which releases of the next 30 days must be able to decode.
        let sql = "SELECT response FROM idempotency_record WHERE request_id = $1";
        let id: Uuid = request.request_id.parse().unwrap();
        let db = &fixture.test_env.db;
        let statement = Statement::from_sql_and_values(db.backend(), sql, [id.into()]);
        let row = db.conn().query_one_raw(statement).await.unwrap().unwrap();
        let stored: Vec<u8> = row.try_get("", "response").unwrap();
        let golden = format!("\u{1}{{\"call_id\":\"{}\"}}", call.id);
        assert_eq!(String::from_utf8(stored).unwrap(), golden);
        fixture.cancel(s.administrator, &call).await.unwrap();
        let again = fixture.plan(s.teacher, request.clone()).await.unwrap();
        assert_eq!((&again.id, again.state()), (&call.id, pb::CallState::Canceled));
        remove_member(&fixture, s.teacher).await;
        assert_eq!(reason(&fixture.plan(s.teacher, request).await), "NOT_FOUND");
    }
);

// Covers: R51 allowed
on_both!(repeated_occurrence_cancellation_succeeds, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let call = fixture.lesson(|w| w.weekly = count(2)).await;
    let request = pb::CancelOccurrenceRequest {
        request_id: fixture.test_env.request_id(),
        org_id: s.org.to_string(),
        call_id: call.id.clone(),
        start_time: call.start_time,
    };
    let cancel = async || {
        let request = fixture.test_env.member_request(s.org, s.teacher, request.clone());
        fixture.client.clone().cancel_occurrence(request).await
    };
    let first = cancel().await.unwrap().into_inner();
    // Canceling the whole call does not change the canceled occurrence.
    fixture.cancel(s.administrator, &call).await.unwrap();
    let again = cancel().await.unwrap().into_inner();
    assert_eq!(again.occurrence, first.occurrence);
    remove_member(&fixture, s.teacher).await;
    assert_eq!(reason(&cancel().await), "NOT_FOUND");
});

on_both!(unknown_stored_value_is_unavailable, |database| async move {
    parta_testkit::logs().allow("a stored value is not known to this build");
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let other = fixture.lesson(|_| ()).await;
    let get = async |id: &str| {
        let request = pb::GetCallRequest {
            org_id: s.org.to_string(),
            call_id: id.to_owned(),
        };
        let request = fixture.test_env.member_request(s.org, s.teacher, request);
        fixture.client.clone().get_call(request).await
    };
    for change in [
        "kind = 77",
        "format = 77",
        "interval_weeks = -1",
        "interval_weeks = 0",
        "occurrence_count = -3",
        "duration_minutes = 0",
        "cancel_time = create_time, cancel_reason = 77",
    ] {
        let call = fixture.lesson(|w| w.weekly = count(2)).await;
        let id = call.id.parse::<CallId>().unwrap().uuid();
        fixture.test_env.change_row("call", change, "id", id).await;
        let refused = get(&call.id).await;
        assert_eq!(reason(&refused), "STORED_VALUE_UNKNOWN", "{change}");
        assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    }
    // Another call of the organization is not affected.
    assert_eq!(reason(&get(&other.id).await), "OK");
});
