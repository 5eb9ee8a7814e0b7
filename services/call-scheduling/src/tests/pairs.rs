//! Every pair of mutations that touch one call, at the same time, on PostgreSQL. SQLite has one writer.
use parta_ids::{CallId, MemberId, TypedId as _};
use parta_proto_call_scheduling::v1::{self as pb, AnnounceCallRequest, CallKind};
use parta_service_testkit::{Races, RacingAct};
use parta_testkit::{TestDatabase, on_postgres};
use tonic::Status;

use crate::tests::fixture::{Fixture, count};

/// A weekly lesson that begins soon.
async fn lesson(fixture: &Fixture) -> pb::Call {
    let request = pb::PlanCallRequest {
        start_civil_time: "2026-09-01T11:05:00".to_owned(),
        weekly: count(2),
        ..fixture.plan_request(CallKind::Lesson)
    };
    fixture.plan(fixture.school.teacher, request).await.unwrap()
}

async fn announce(fixture: &Fixture, by: MemberId, call: &pb::Call) -> Result<(), Status> {
    let request = AnnounceCallRequest {
        request_id: fixture.test_env.request_id(),
        org_id: fixture.school.org.to_string(),
        call_id: call.id.clone(),
    };
    let request = fixture.test_env.member_request(fixture.school.org, by, request);
    fixture.client.clone().announce_call(request).await.map(|_| ())
}

async fn cancel_with_etag(fixture: &Fixture, by: MemberId, call: &pb::Call) -> Result<(), Status> {
    let request = pb::CancelCallRequest {
        request_id: fixture.test_env.request_id(),
        org_id: fixture.school.org.to_string(),
        call_id: call.id.clone(),
        etag: call.etag.clone(),
    };
    let request = fixture.test_env.member_request(fixture.school.org, by, request);
    fixture.client.clone().cancel_call(request).await.map(|_| ())
}

fn second_start(call: &pb::Call) -> Option<prost_types::Timestamp> {
    let first = call.start_time?;
    Some(prost_types::Timestamp {
        seconds: first.seconds + 7 * 86_400,
        ..first
    })
}

fn state(call: &pb::Call) -> Vec<String> {
    let id = call.id.parse::<CallId>().unwrap().uuid();
    vec![
        format!("SELECT CONCAT_WS(' ', announced, cancel_reason, revision) FROM call WHERE id = '{id}'"),
        format!(
            "SELECT STRING_AGG(CONCAT_WS(' ', start_time, cancel_time IS NULL), ',' \
             ORDER BY start_time) FROM occurrence WHERE call_id = '{id}'"
        ),
        format!("SELECT COUNT(*)::TEXT FROM room WHERE call_id = '{id}' AND token_time IS NOT NULL"),
        format!(
            "SELECT COUNT(*)::TEXT FROM audit_entry WHERE object LIKE '%{}%'",
            call.id
        ),
    ]
}

fn races(acts: Vec<(&'static str, RacingAct<Fixture, pb::Call>)>) -> Races<Fixture, pb::Call> {
    Races {
        acts,
        subject: |fixture| Box::pin(lesson(fixture)),
        barrier: |_| vec!["LOCK TABLE call, occurrence, room IN EXCLUSIVE MODE".to_owned()],
        compares_reasons: true,
        state,
    }
}

on_postgres!(
    /// Covers: R51 allowed, R51 refused
    pairs_about_one_call_end_as_in_a_serial_order,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let fixture = Fixture::open(&database).await;
        let acts: Vec<(&'static str, RacingAct<Fixture, pb::Call>)> = vec![
            ("CancelCall", |fixture, call| Box::pin(async move {
                fixture.cancel(fixture.school.teacher, call).await.map(|_| ())
            })),
            ("CancelCall by the administrator", |fixture, call| Box::pin(async move {
                fixture.cancel(fixture.school.administrator, call).await.map(|_| ())
            })),
            ("CancelOccurrence", |fixture, call| Box::pin(async move {
                let by = fixture.school.teacher;
                fixture.cancel_occurrence(by, call, call.start_time).await.map(|_| ())
            })),
            ("CancelOccurrence of the second", |fixture, call| Box::pin(async move {
                let by = fixture.school.administrator;
                fixture.cancel_occurrence(by, call, second_start(call)).await.map(|_| ())
            })),
            ("AnnounceCall", |fixture, call| Box::pin(async move {
                announce(fixture, fixture.school.teacher, call).await
            })),
            ("IssueJoinToken", |fixture, call| Box::pin(async move {
                fixture.join(fixture.school.teacher, call).await.map(|_| ())
            })),
        ];
        races(acts).run(&fixture, database.url()).await;
        // With the etag, which each change makes old. AnnounceCall is two transactions with a call to chat in
        // between, so that a cancellation with the etag of before may come between the two.
        let acts: Vec<(&'static str, RacingAct<Fixture, pb::Call>)> = vec![
            ("CancelCall with the etag", |fixture, call| Box::pin(async move {
                cancel_with_etag(fixture, fixture.school.teacher, call).await
            })),
            ("CancelCall", |fixture, call| Box::pin(async move {
                fixture.cancel(fixture.school.administrator, call).await.map(|_| ())
            })),
            ("CancelOccurrence", |fixture, call| Box::pin(async move {
                let by = fixture.school.teacher;
                fixture.cancel_occurrence(by, call, call.start_time).await.map(|_| ())
            })),
        ];
        races(acts).run(&fixture, database.url()).await;
    }
);
