//! A call with pupils ends without an adult, and each call with its room (F15).
use chrono::TimeDelta;
use parta_ids::MemberId;
use parta_proto_call_scheduling::v1::CallKind;
use parta_proto_membership::v1::{MemberState, Role};
use parta_testkit::on_both;

use super::{
    claims,
    lesson::{LOOK, Lesson},
    set_time,
};
use crate::tests::fixture::Fixture;

// A cleared teacher of another class is at the consultation as a parent.
// Covers: F4 refused, F15 refused, R55 refused
on_both!(call_opens_for_no_teacher_who_is_a_parent, |database| async move {
    let teacher = |fixture: &Fixture| fixture.school.class_teacher;
    let lesson = Lesson::open_of(&database, teacher, CallKind::Consultation).await;
    let s = lesson.fixture.school;
    let both: MemberId = lesson.fixture.test_env.env.id();
    lesson.teacher_and_parent(both, true).await;
    lesson.relate(both).await;
    let joined = lesson.token(both).await;
    assert!(joined.lobby);
    assert_eq!(claims(&joined.token)["metadata"], r#"{"role":"parent"}"#);
    assert!(lesson.token(s.pupil).await.lobby);
    assert!(!lesson.token(s.class_teacher).await.lobby);
    assert!(!lesson.token(s.pupil).await.lobby);
});

// Covers: F15 allowed, F15 refused, R55 allowed, R55 refused
on_both!(call_without_an_adult_ends, |database| async move {
    let lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    let (teacher, pupil) = (lesson.enter(s.teacher).await, lesson.enter(s.pupil).await);
    lesson.pass_looking(TimeDelta::minutes(5)).await;
    lesson.media.leave(&teacher);
    lesson.pass_looking(TimeDelta::seconds(170)).await;
    assert!(lesson.media.has(&pupil));
    // A short absence ends nothing.
    lesson.media.enter(&teacher);
    lesson.pass(LOOK).await;
    lesson.media.leave(&teacher);
    lesson.pass_looking(TimeDelta::seconds(175)).await;
    assert!(lesson.media.has(&pupil));
    lesson.pass(LOOK).await;
    assert!(!lesson.media.has(&pupil));
    lesson.is_put_out(&pupil).await;
    // The pupil waits in the lobby until the teacher is there again.
    let waiting = lesson.token(s.pupil).await;
    assert!(waiting.lobby);
    lesson.media.enter(&waiting.token);
    lesson.pass_looking(TimeDelta::seconds(30)).await;
    assert!(lesson.media.has(&waiting.token));
    lesson.media.enter(&teacher);
    lesson.pass(LOOK).await;
    let again = lesson.token(s.pupil).await;
    assert!(!again.lobby);
    lesson.media.enter(&again.token);
    lesson.pass(LOOK).await;
    assert!(lesson.media.has(&again.token));
});

// Covers: F15 refused, F18 refused
on_both!(
    last_adult_who_loses_the_right_ends_the_call,
    |database| async move {
        let lesson = Lesson::open(&database).await;
        let s = lesson.fixture.school;
        let (teacher, pupil) = (lesson.enter(s.teacher).await, lesson.enter(s.pupil).await);
        lesson
            .change(s.teacher, Role::Teacher, MemberState::Active, false)
            .await;
        assert!(!lesson.media.has(&teacher) && lesson.media.has(&pupil));
        for _ in 0..35 {
            lesson.is_put_out(&teacher).await;
        }
        assert!(lesson.media.has(&pupil));
        lesson.is_put_out(&teacher).await;
        assert!(!lesson.media.has(&pupil));
    }
);

// The token of a teacher who does not come opens the call for the time in which he could come, and no other
// token after it.
// Covers: F15 allowed, F15 refused
on_both!(unused_tokens_keep_no_call_open, |database| async move {
    let lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    lesson.token(s.teacher).await;
    let pupil = lesson.enter(s.pupil).await;
    for _ in 0..34 {
        lesson.token(s.teacher).await;
        lesson.pass(LOOK).await;
    }
    assert!(lesson.media.has(&pupil));
    lesson.token(s.teacher).await;
    lesson.pass(LOOK).await;
    assert!(!lesson.media.has(&pupil));
    assert!(lesson.token(s.pupil).await.lobby);
});

// Covers: F15 allowed
on_both!(parent_meeting_goes_on_without_staff, |database| async move {
    let teacher = |fixture: &Fixture| fixture.school.class_teacher;
    let lesson = Lesson::open_of(&database, teacher, CallKind::ParentMeeting).await;
    let s = lesson.fixture.school;
    let leader = lesson.enter(s.class_teacher).await;
    let parent = lesson.enter(s.parent).await;
    lesson.media.leave(&leader);
    lesson.pass(TimeDelta::minutes(20)).await;
    assert!(lesson.media.has(&parent));
    assert!(!lesson.token(s.parent).await.lobby);
});

// Covers: F15 refused, R55 refused
on_both!(room_is_left_by_all_when_it_closes, |database| async move {
    let lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    let (teacher, pupil) = (lesson.enter(s.teacher).await, lesson.enter(s.pupil).await);
    set_time(&lesson.fixture, "2026-09-01T09:59:55Z");
    lesson.pass(TimeDelta::zero()).await;
    assert!(lesson.media.has(&teacher) && lesson.media.has(&pupil));
    lesson.pass(LOOK).await;
    assert!(!lesson.media.has(&teacher) && !lesson.media.has(&pupil));
    lesson.pass(TimeDelta::minutes(10)).await;
    lesson.is_put_out(&pupil).await;
    lesson.pass(TimeDelta::minutes(10)).await;
    let looks = lesson.media.looks();
    lesson.pass(TimeDelta::minutes(2)).await;
    assert_eq!(lesson.media.looks(), looks + 1, "no token is valid any longer");
    lesson.pass(TimeDelta::minutes(2)).await;
    assert_eq!(lesson.media.looks(), looks + 1);
});
