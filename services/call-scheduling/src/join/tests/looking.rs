//! A person who loses the right leaves a running call (F18).
use chrono::TimeDelta;
use parta_ids::{MemberId, SessionId};
use parta_proto_call_scheduling::v1::CallKind;
use parta_proto_membership::v1::{
    AssignmentKind, GuardianshipEnded, MemberState, RelationLimit, RelationLimited, Role,
    membership_event::Payload as Membership,
};
use parta_service_testkit::reason;
use parta_testkit::{logs, on_both};

use super::{
    claims,
    lesson::{LOOK, Lesson},
    set_time,
};
use crate::tests::fixture::Fixture;

// Covers: F18 allowed, F18 refused
on_both!(
    member_who_leaves_the_school_leaves_the_call_for_good,
    |database| async move {
        let lesson = Lesson::open(&database).await;
        let s = lesson.fixture.school;
        let (teacher, pupil) = (lesson.enter(s.teacher).await, lesson.enter(s.pupil).await);
        assert_eq!(lesson.media.removals(), 0);
        lesson
            .change(s.pupil, Role::Pupil, MemberState::Left, false)
            .await;
        assert!(!lesson.media.has(&pupil) && lesson.media.has(&teacher));
        assert_eq!(
            reason(&lesson.fixture.join(s.pupil, &lesson.call).await),
            "NOT_FOUND"
        );
        // LiveKit gives a client that enters another token, so that a removal is no older than the last one.
        for _ in 0..4 {
            lesson.is_put_out(&pupil).await;
            lesson.pass(TimeDelta::minutes(10)).await;
        }
        assert!(lesson.media.has(&teacher));
    }
);

// Covers: F5 refused, F18 allowed, F18 refused
on_both!(member_who_may_again_stays_in_the_call, |database| async move {
    let lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    lesson.enter(s.teacher).await;
    let pupil = lesson.enter(s.pupil).await;
    let suspension = lesson.suspend(s.pupil).await;
    assert!(!lesson.media.has(&pupil));
    lesson.is_put_out(&pupil).await;
    lesson.reinstate(suspension).await;
    let again = lesson.enter(s.pupil).await;
    lesson.media.enter(&pupil);
    lesson.pass(LOOK).await;
    assert!(lesson.media.has(&again) && lesson.media.has(&pupil));
    // The next loss counts again.
    lesson.suspend(s.pupil).await;
    assert!(!lesson.media.has(&again) && !lesson.media.has(&pupil));
});

// Covers: F2 refused, F18 refused
on_both!(demoted_teacher_leaves_the_call, |database| async move {
    let lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    let (teacher, other) = (lesson.enter(s.teacher).await, lesson.enter(s.class_teacher).await);
    lesson
        .change(s.teacher, Role::Teacher, MemberState::Active, false)
        .await;
    assert!(!lesson.media.has(&teacher) && lesson.media.has(&other));
    // A change of a member who is in no call concerns nobody.
    let looks = lesson.media.looks();
    lesson
        .change(s.stranger, Role::Teacher, MemberState::Active, false)
        .await;
    assert!(lesson.media.has(&other));
    assert_eq!(lesson.media.looks(), looks);
});

// The powers of the organizer end with the right to organize. The earlier token of the host gives nothing to
// a member who may attend without them.
// Covers: F1 refused, F18 allowed, F18 refused
on_both!(former_host_enters_without_powers, |database| async move {
    let mut lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    set_time(&lesson.fixture, "2026-09-01T08:00:00Z");
    let leader: MemberId = lesson.fixture.test_env.env.id();
    lesson
        .change(leader, Role::Teacher, MemberState::Active, true)
        .await;
    let led = lesson.assign(leader, AssignmentKind::ClassTeacher).await;
    lesson.assign(leader, AssignmentKind::SubjectTeacher).await;
    let hour = lesson.fixture.plan_request(CallKind::ClassHour);
    lesson.call = lesson.fixture.plan(leader, hour).await.unwrap();
    set_time(&lesson.fixture, "2026-09-01T09:00:00Z");
    let (host, pupil) = (lesson.enter(leader).await, lesson.enter(s.pupil).await);
    assert_eq!(claims(&host)["video"]["roomAdmin"], true);
    lesson.end_assignment(led).await;
    assert!(!lesson.media.has(&host));
    let attends = lesson.enter(leader).await;
    assert_eq!(claims(&attends)["video"]["roomAdmin"], false);
    for _ in 0..3 {
        lesson.is_put_out(&host).await;
    }
    assert!(lesson.media.has(&attends) && lesson.media.has(&pupil));
    // A host again: the earlier token gives what the person may have.
    lesson.assign(leader, AssignmentKind::ClassTeacher).await;
    lesson.media.enter(&host);
    lesson.pass(LOOK).await;
    assert!(lesson.media.has(&host));
});

// A teacher who lost the badge may stay as a parent, and is not shown as a teacher.
// Covers: F4 allowed, F4 refused, F18 refused
on_both!(former_teacher_enters_as_a_parent, |database| async move {
    let teacher = |fixture: &Fixture| fixture.school.class_teacher;
    let lesson = Lesson::open_of(&database, teacher, CallKind::Consultation).await;
    let s = lesson.fixture.school;
    let both: MemberId = lesson.fixture.test_env.env.id();
    lesson.teacher_and_parent(both, true).await;
    lesson.assign(both, AssignmentKind::SubjectTeacher).await;
    lesson.relate(both).await;
    lesson.enter(s.class_teacher).await;
    let as_teacher = lesson.enter(both).await;
    assert_eq!(claims(&as_teacher)["metadata"], r#"{"role":"teacher"}"#);
    lesson.teacher_and_parent(both, false).await;
    assert!(!lesson.media.has(&as_teacher));
    let as_parent = lesson.enter(both).await;
    assert_eq!(claims(&as_parent)["metadata"], r#"{"role":"parent"}"#);
    lesson.is_put_out(&as_teacher).await;
    assert!(lesson.media.has(&as_parent));
});

// Covers: F13 refused, F18 refused
on_both!(limited_parent_leaves_the_parent_meeting, |database| async move {
    let teacher = |fixture: &Fixture| fixture.school.class_teacher;
    let lesson = Lesson::open_of(&database, teacher, CallKind::ParentMeeting).await;
    let s = lesson.fixture.school;
    lesson.enter(s.class_teacher).await;
    let parent = lesson.enter(s.parent).await;
    let limited = RelationLimited {
        guardian_id: s.parent.to_string(),
        child_id: s.pupil.to_string(),
        limits: vec![RelationLimit::NoWhereabouts.into()],
    };
    lesson.apply(Membership::RelationLimited(limited)).await;
    assert!(!lesson.media.has(&parent));
});

// Covers: F1 refused, F12 refused, F18 refused
on_both!(call_is_left_with_its_ground, |database| async move {
    let teacher = |fixture: &Fixture| fixture.school.class_teacher;
    let lesson = Lesson::open_of(&database, teacher, CallKind::Consultation).await;
    let s = lesson.fixture.school;
    let (mother, substitute): (MemberId, MemberId) =
        (lesson.fixture.test_env.env.id(), lesson.fixture.test_env.env.id());
    lesson
        .change(mother, Role::Parent, MemberState::Active, false)
        .await;
    lesson
        .change(substitute, Role::Teacher, MemberState::Active, true)
        .await;
    let relation = lesson.relate(mother).await;
    let assignment = lesson.assign(substitute, AssignmentKind::SubjectTeacher).await;
    let leader = lesson.enter(s.class_teacher).await;
    let (mother, substitute) = (lesson.enter(mother).await, lesson.enter(substitute).await);
    lesson.end_assignment(assignment).await;
    assert!(!lesson.media.has(&substitute) && lesson.media.has(&mother));
    let guardianship_id = relation.to_string();
    lesson
        .apply(Membership::GuardianshipEnded(GuardianshipEnded {
            guardianship_id,
        }))
        .await;
    assert!(!lesson.media.has(&mother) && lesson.media.has(&leader));
});

// Covers: R52 refused, F18 refused
on_both!(canceled_call_is_left_by_all, |database| async move {
    let lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    let (teacher, pupil) = (lesson.enter(s.teacher).await, lesson.enter(s.pupil).await);
    let call = &lesson.call;
    let canceled = lesson.fixture.cancel_occurrence(s.teacher, call, call.start_time);
    canceled.await.unwrap();
    lesson.fixture.run_due_jobs().await;
    assert!(!lesson.media.has(&pupil) && !lesson.media.has(&teacher));
});

// A call of a unit that is archived meanwhile continues until its end (F17).
// Covers: F17 allowed
on_both!(
    running_call_of_an_archived_unit_continues,
    |database| async move {
        let lesson = Lesson::open(&database).await;
        let s = lesson.fixture.school;
        let (teacher, pupil) = (lesson.enter(s.teacher).await, lesson.enter(s.pupil).await);
        s.archive(&lesson.fixture.test_env, s.class).await;
        lesson.fixture.run_due_jobs().await;
        assert!(lesson.media.has(&pupil) && lesson.media.has(&teacher));
    }
);

// Each session has an identity of its own on the media server.
// Covers: F11 refused, F18 refused, R29 refused
on_both!(ended_session_leaves_the_call, |database| async move {
    let lesson = Lesson::open(&database).await;
    let (env, s) = (&lesson.fixture.test_env, lesson.fixture.school);
    lesson.enter(s.teacher).await;
    let phone: SessionId = env.env.id();
    let phone_token = env.issuer.person(s.org, s.pupil, phone).unwrap().text;
    let start = lesson.call.start_time;
    let on_phone = lesson.fixture.join_with(&phone_token, &lesson.call, start).await;
    let on_phone = on_phone.unwrap().token;
    lesson.media.enter(&on_phone);
    let on_tablet = lesson.enter(s.pupil).await;
    assert!(lesson.media.has(&on_phone));
    env.verifier.revoke_session(phone);
    lesson.pass(LOOK).await;
    assert!(!lesson.media.has(&on_phone) && lesson.media.has(&on_tablet));
    // The process forgets the revocation; the room does not.
    lesson.pass(TimeDelta::minutes(25)).await;
    lesson.is_put_out(&on_phone).await;
    assert!(lesson.media.has(&on_tablet));
});

// Covers: F18 refused
on_both!(removal_waits_for_the_media_server, |database| async move {
    let lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    let pupil = lesson.enter(s.pupil).await;
    lesson.media.fail(Some(503));
    let looks = lesson.media.looks();
    lesson
        .change(s.pupil, Role::Pupil, MemberState::Left, false)
        .await;
    // More often than a job has attempts.
    lesson.pass_looking(TimeDelta::minutes(6)).await;
    assert!(lesson.media.has(&pupil) && lesson.media.looks() > looks + 60);
    lesson.media.fail(None);
    lesson.pass(LOOK).await;
    assert!(!lesson.media.has(&pupil));
});

// A server that refuses the calls of the service needs the operator. The next change looks again.
// Covers: F18 refused
on_both!(
    look_that_failed_runs_after_the_next_change,
    |database| async move {
        logs().allow("job failed permanently");
        let lesson = Lesson::open(&database).await;
        let s = lesson.fixture.school;
        let pupil = lesson.enter(s.pupil).await;
        lesson.media.fail(Some(401));
        lesson.suspend(s.pupil).await;
        lesson.pass_looking(TimeDelta::minutes(6)).await;
        let looks = lesson.media.looks();
        lesson.pass(LOOK).await;
        assert_eq!(lesson.media.looks(), looks, "the look has failed for good");
        lesson.media.fail(None);
        lesson
            .change(s.pupil, Role::Pupil, MemberState::Left, false)
            .await;
        assert!(!lesson.media.has(&pupil));
        lesson.is_put_out(&pupil).await;
    }
);

// A client that requests tokens without end makes no jobs without end.
// Covers: F18 allowed
on_both!(room_has_one_look, |database| async move {
    let lesson = Lesson::open(&database).await;
    let (env, s) = (&lesson.fixture.test_env, lesson.fixture.school);
    for _ in 0..10 {
        lesson.token(s.pupil).await;
        lesson.token(s.teacher).await;
    }
    assert_eq!(env.count_rows("job").await, 1);
    lesson.suspend(s.pupil).await;
    lesson.pass(LOOK).await;
    assert_eq!(env.count_rows("job").await, 1);
});
