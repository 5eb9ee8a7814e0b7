//! F17: calls of an archived unit.
use parta_ids::TypedId as _;
use parta_proto_call_scheduling::v1::{self as pb, CallCancelReason, CallState};
use parta_service_testkit::reason;
use parta_testkit::{eventually, on_both, on_postgres};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::tests::fixture::{Fixture, count};

// Case 13, in part
// Covers: F17 allowed, F17 refused
on_both!(future_calls_end_with_their_unit, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let series = fixture.lesson(|request| request.weekly = count(4)).await;
    let canceled = fixture.lesson(|_| ()).await;
    fixture.cancel(s.teacher, &canceled).await.unwrap();
    let other = fixture
        .plan(
            s.administrator,
            pb::PlanCallRequest {
                unit_id: s.staff_room.to_string(),
                ..fixture.plan_request(pb::CallKind::WorkingMeeting)
            },
        )
        .await
        .unwrap();
    // The first lesson has begun, and the pupil is in it.
    fixture.test_env.time.set("2026-09-01T09:10:00Z".parse().unwrap());
    assert_eq!(reason(&fixture.join(s.pupil, &series).await), "OK");
    s.archive(&fixture.test_env, s.class).await;
    // It continues until its end, and nobody else joins it.
    assert_eq!(reason(&fixture.join(s.pupil, &series).await), "UNIT_ARCHIVED");
    let listed = fixture.list(s.pupil).await;
    let lessons: Vec<_> = listed.iter().filter(|shown| shown.call_id == series.id).collect();
    assert_eq!(lessons.len(), 1, "{listed:?}");
    assert_eq!(lessons[0].start_time, series.start_time);

    let shown = fixture.get(s.teacher, &series).await;
    assert_eq!(shown.state(), CallState::Canceled);
    assert_eq!(shown.cancel_reason(), CallCancelReason::UnitArchived);
    assert_ne!(shown.etag, series.etag);
    let shown = fixture.get(s.teacher, &canceled).await;
    assert_eq!(shown.cancel_reason(), CallCancelReason::Member);
    let shown = fixture.get(s.administrator, &other).await;
    assert_eq!(
        (shown.state(), shown.cancel_reason()),
        (CallState::Planned, CallCancelReason::Unspecified)
    );
    let again = fixture
        .plan(s.teacher, fixture.plan_request(pb::CallKind::Lesson))
        .await;
    assert_eq!(reason(&again), "UNIT_NOT_SUITABLE");
});

// Covers: F17 refused
on_postgres!(
    call_is_not_planned_while_its_unit_is_archived,
    "SQLite has one writer at a time, so planning and archiving are never concurrent",
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let (s, db) = (fixture.school, &fixture.test_env.db);
        let archiving = db.writer().begin().await.unwrap();
        let update = "UPDATE roster_unit SET archived = true WHERE org_id = $1 AND unit_id = $2";
        let keys = [s.org.uuid().into(), s.class.uuid().into()];
        let update = Statement::from_sql_and_values(db.backend(), update, keys);
        archiving.execute_raw(update).await.unwrap();
        let request = fixture.plan_request(pb::CallKind::Lesson);
        let planned = fixture.plan(s.teacher, request);
        let archived = async {
            eventually("the planning waits", async || {
                let waiting = "SELECT 1 FROM pg_stat_activity \
                               WHERE datname = current_database() AND wait_event_type = 'Lock'";
                let waiting = Statement::from_string(db.backend(), waiting);
                db.conn().query_one_raw(waiting).await.unwrap().map(|_| ())
            })
            .await;
            archiving.commit().await.unwrap();
        };
        let (planned, ()) = tokio::join!(planned, archived);
        assert_eq!(reason(&planned), "UNIT_NOT_SUITABLE");
    }
);
