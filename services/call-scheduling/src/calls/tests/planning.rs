//! Planning and canceling calls.
use parta_ids::MemberId;
use parta_proto::feed::v1::{SnapshotRequest, WatchRequest};
use parta_proto_call_scheduling::v1::{
    self as pb, CallKind, call_scheduling_feed_service_client::CallSchedulingFeedServiceClient,
};
use parta_service_testkit::reason;
use parta_testkit::on_both;

use crate::tests::fixture::{Fixture, count, timestamp};

async fn may_plan(fixture: &Fixture, member: MemberId, kind: CallKind, unit: parta_ids::UnitId) -> bool {
    let wanted = pb::PlanCallRequest {
        unit_id: unit.to_string(),
        ..fixture.plan_request(kind)
    };
    let outcome = fixture.plan(member, wanted).await;
    let reason = reason(&outcome);
    assert!(
        reason == "OK" || reason == "PERMISSION_DENIED",
        "{kind:?}: {reason}"
    );
    reason == "OK"
}

// The kind of a call limits the roles that may organize it.
// Covers: R50 allowed, R50 refused
on_both!(call_kinds_are_limited_to_their_roles, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let organizers = [
        s.administrator,
        s.class_teacher,
        s.teacher,
        s.unverified,
        s.stranger,
        s.pupil,
        s.parent,
    ];
    let (class, staff) = (s.class, s.staff_room);
    let teachers = [false, true, true, false, false, false, false];
    let and_administration = [true, true, true, false, false, false, false];
    let class_teacher = [false, true, false, false, false, false, false];
    let administration = [true, false, false, false, false, false, false];
    let all_staff = [true, true, true, true, true, false, false];
    let table = [
        (CallKind::Lesson, class, teachers),
        (CallKind::Consultation, class, teachers),
        (CallKind::ClassHour, class, class_teacher),
        (
            CallKind::ParentMeeting,
            class,
            [true, true, false, false, false, false, false],
        ),
        (CallKind::WorkingMeeting, staff, all_staff),
        (CallKind::PedagogicalCouncil, staff, administration),
        (CallKind::StudyGroupMeeting, class, teachers),
        (CallKind::ExtracurricularSession, class, teachers),
        (CallKind::Excursion, class, teachers),
        (CallKind::Olympiad, class, and_administration),
        (CallKind::Contest, class, and_administration),
        (CallKind::SchoolEvent, class, administration),
        (CallKind::Course, staff, administration),
        (CallKind::Seminar, staff, all_staff),
        (
            CallKind::MethodicalAssociation,
            staff,
            [false, true, true, true, true, false, false],
        ),
    ];
    for (kind, unit, expected) in table {
        for (member, expected) in organizers.into_iter().zip(expected) {
            assert_eq!(may_plan(&fixture, member, kind, unit).await, expected, "{kind:?}");
        }
    }
});

// A call is refused if its unit does not suit its kind or if a named participant is not in its audience.
// Covers: R49 refused, R50 allowed, R50 refused
on_both!(call_must_fit_its_unit_and_audience, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let wanted = pb::PlanCallRequest {
        unit_id: s.staff_room.to_string(),
        ..fixture.plan_request(CallKind::ParentMeeting)
    };
    assert_eq!(
        reason(&fixture.plan(s.administrator, wanted).await),
        "UNIT_NOT_SUITABLE"
    );
    let named = |member: MemberId| pb::PlanCallRequest {
        participant_ids: vec![member.to_string()],
        ..fixture.plan_request(CallKind::Lesson)
    };
    assert_eq!(reason(&fixture.plan(s.teacher, named(s.pupil)).await), "OK");
    for stranger in [s.other_pupil, s.parent, s.expected, fixture.test_env.env.id()] {
        assert_eq!(
            reason(&fixture.plan(s.teacher, named(stranger)).await),
            "PARTICIPANT_NOT_CONCERNED"
        );
    }
    s.archive(&fixture.test_env, s.class).await;
    assert_eq!(
        reason(
            &fixture
                .plan(s.teacher, fixture.plan_request(CallKind::Lesson))
                .await
        ),
        "UNIT_NOT_SUITABLE"
    );
});

// Covers: R49 allowed, R51 allowed, R52 allowed
on_both!(
    planned_call_keeps_the_local_time_of_the_school,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let call = fixture.lesson(|w| w.weekly = count(3)).await;
        assert_eq!(call.time_zone, "Europe/Moscow");
        assert_eq!(call.start_time, timestamp("2026-09-01T09:00:00Z"));
        assert_eq!(call.recurrence_rule, "FREQ=WEEKLY;INTERVAL=1;COUNT=3");
        let starts: Vec<_> = fixture
            .list(fixture.school.pupil)
            .await
            .into_iter()
            .map(|o| o.start_civil_time)
            .collect();
        assert_eq!(
            starts,
            [
                "2026-09-01T12:00:00",
                "2026-09-08T12:00:00",
                "2026-09-15T12:00:00"
            ]
        );
        // Without a start time, the call starts at the current minute.
        let now = fixture.lesson(|w| w.start_civil_time.clear()).await;
        assert_eq!(now.start_time, timestamp("2026-09-01T08:00:00Z"));
        assert_eq!(now.start_civil_time, "2026-09-01T11:00:00");
    }
);

// A response contains every violation of the request.
// Covers: R49 refused, R51 refused, R52 refused
on_both!(
    malformed_request_returns_all_its_violations,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let wanted = pb::PlanCallRequest {
            title: " ".to_owned(),
            start_civil_time: "2026-09-01 12:00".to_owned(),
            duration: Some(prost_types::Duration {
                seconds: 61,
                nanos: 0,
            }),
            weekly: Some(pb::WeeklyRecurrence {
                interval: 9,
                end: None,
            }),
            format: pb::CallFormat::Hybrid.into(),
            ..fixture.plan_request(CallKind::Unspecified)
        };
        let status = fixture.plan(fixture.school.teacher, wanted).await.unwrap_err();
        let refusal = parta_status::RpcError::from_status(&status).unwrap();
        let mut fields: Vec<_> = refusal.fields().iter().map(|(path, _)| path.as_str()).collect();
        fields.sort_unstable();
        let wanted = [
            "duration",
            "kind",
            "room",
            "start_civil_time",
            "title",
            "weekly.end",
            "weekly.interval",
        ];
        assert_eq!(fields, wanted);
        let late = pb::PlanCallRequest {
            start_civil_time: "2026-08-30T12:00:00".to_owned(),
            ..fixture.plan_request(CallKind::Lesson)
        };
        assert_eq!(
            reason(&fixture.plan(fixture.school.teacher, late).await),
            "FIELD_INVALID"
        );
        let empty = pb::PlanCallRequest {
            weekly: Some(pb::WeeklyRecurrence {
                interval: 1,
                end: Some(pb::weekly_recurrence::End::UntilDate("2026-08-31".to_owned())),
            }),
            ..fixture.plan_request(CallKind::Lesson)
        };
        assert_eq!(
            reason(&fixture.plan(fixture.school.teacher, empty).await),
            "RECURRENCE_NOT_PLANNABLE"
        );
    }
);

// Covers: R51 allowed, R51 refused
on_both!(
    cancellation_is_limited_to_organizer_and_administration,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let s = fixture.school;
        let call = fixture.lesson(|w| w.weekly = count(3)).await;
        let second = timestamp("2026-09-08T09:00:00Z");
        assert_eq!(
            reason(&fixture.cancel_occurrence(s.class_teacher, &call, second).await),
            "PERMISSION_DENIED"
        );
        assert_eq!(
            reason(&fixture.cancel_occurrence(s.pupil, &call, second).await),
            "PERMISSION_DENIED"
        );
        let between = timestamp("2026-09-08T10:00:00Z");
        assert_eq!(
            reason(&fixture.cancel_occurrence(s.teacher, &call, between).await),
            "NOT_FOUND"
        );
        for _ in 0..2 {
            assert!(
                fixture
                    .cancel_occurrence(s.teacher, &call, second)
                    .await
                    .unwrap()
                    .canceled
            );
        }
        let starts: Vec<_> = fixture
            .list(s.pupil)
            .await
            .into_iter()
            .map(|o| o.start_time)
            .collect();
        assert_eq!(
            starts,
            [
                timestamp("2026-09-01T09:00:00Z"),
                timestamp("2026-09-15T09:00:00Z")
            ]
        );
        assert_eq!(
            fixture.cancel(s.administrator, &call).await.unwrap().state(),
            pb::CallState::Canceled
        );
        assert!(fixture.list(s.pupil).await.is_empty());
        assert_eq!(
            reason(&fixture.cancel_occurrence(s.teacher, &call, second).await),
            "CALL_CANCELED"
        );
        assert_eq!(reason(&fixture.join(s.teacher, &call).await), "CALL_CANCELED");
    }
);

// Section 3 of the architecture: the feed contains each event once, and the snapshot gives the same state.
// Covers: R63 allowed
on_both!(
    feed_and_snapshot_contain_planned_and_canceled_calls,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let s = fixture.school;
        let call = fixture.lesson(|w| w.weekly = count(2)).await;
        let second = timestamp("2026-09-08T09:00:00Z");
        for _ in 0..2 {
            fixture.cancel_occurrence(s.teacher, &call, second).await.unwrap();
        }
        for _ in 0..2 {
            fixture.cancel(s.teacher, &call).await.unwrap();
        }
        use pb::call_scheduling_event::Payload;
        let planned = Payload::CallPlanned(pb::CallPlanned {
            call_id: call.id.clone(),
            unit_id: s.class.to_string(),
            start_time: call.start_time,
        });
        let occurrence_canceled = Payload::OccurrenceCanceled(pb::OccurrenceCanceled {
            call_id: call.id.clone(),
            start_time: second,
        });
        let call_canceled = Payload::CallCanceled(pb::CallCanceled {
            call_id: call.id.clone(),
        });
        let channel = fixture
            .test_env
            .channel_of("chat", "call-scheduling", &fixture.transport);
        let mut feed = CallSchedulingFeedServiceClient::new(channel);
        let mut watched = Vec::new();
        let mut stream = feed
            .watch(WatchRequest {
                org_id: s.org.to_string(),
                ..Default::default()
            })
            .await
            .unwrap()
            .into_inner();
        while watched.len() < 3 {
            let next = stream.message().await.unwrap().unwrap();
            let Some(pb::watch_response::Item::Event(event)) = next.item else {
                unreachable!("a checkpoint before all events")
            };
            watched.extend(event.payload);
        }
        assert_eq!(
            watched,
            [
                planned.clone(),
                occurrence_canceled.clone(),
                call_canceled.clone()
            ]
        );
        let mut events = Vec::new();
        let mut stream = feed
            .snapshot(SnapshotRequest {
                org_id: s.org.to_string(),
            })
            .await
            .unwrap()
            .into_inner();
        while let Some(next) = stream.message().await.unwrap() {
            events.extend(next.event.and_then(|e| e.payload));
        }
        assert_eq!(events, [planned, call_canceled, occurrence_canceled]);
    }
);

// Invariant 2
// Covers: R49 allowed, R49 refused
on_both!(repeated_planning_creates_one_call, |database| async move {
    let fixture = Fixture::open(&database).await;
    let wanted = fixture.plan_request(CallKind::Lesson);
    let first = fixture
        .plan(fixture.school.teacher, wanted.clone())
        .await
        .unwrap();
    assert_eq!(
        fixture
            .plan(fixture.school.teacher, wanted.clone())
            .await
            .unwrap(),
        first
    );
    assert_eq!(fixture.list(fixture.school.pupil).await.len(), 1);
    let other = pb::PlanCallRequest {
        title: "Проценты".to_owned(),
        ..wanted
    };
    assert_eq!(
        reason(&fixture.plan(fixture.school.teacher, other).await),
        "REQUEST_ID_REUSED"
    );
});
