//! A member who loses the right leaves a running call (F18).
use chrono::TimeDelta;
use parta_ids::{MemberId, SuspensionId};
use parta_proto_call_scheduling::v1::{self as pb, CallKind};
use parta_proto_membership::v1::{
    MemberReinstated, MemberState, MemberSuspended, RelationLimit, RelationLimited, Role,
    membership_event::Payload as Membership,
};
use parta_service_testkit::reason;
use parta_testkit::{TestDatabase, on_both};

use super::set_time;
use crate::tests::{fixture::Fixture, media_server::MediaServer};

/// A running lesson of the class, its teacher and its pupil, and the media server.
struct Lesson {
    fixture: Fixture,
    media: MediaServer,
    call: pb::Call,
}

impl Lesson {
    async fn open(database: &TestDatabase) -> Self {
        let media = MediaServer::start().await;
        let fixture = Fixture::open_with(database, &media.url()).await;
        let call = fixture.lesson(|_| ()).await;
        set_time(&fixture, "2026-09-01T09:00:00Z");
        Self { fixture, media, call }
    }

    /// A member gets a token for the call, enters with it, and is judged by the facts of the moment.
    async fn enter(&self, member: MemberId) -> String {
        let token = self.fixture.join(member, &self.call).await.unwrap().token;
        self.media.enter(&token);
        self.fixture.run_due_jobs().await;
        assert!(self.media.has(&token));
        token
    }

    async fn pass(&self, span: TimeDelta) {
        self.fixture.test_env.time.advance(span);
        self.fixture.run_due_jobs().await;
    }

    /// Suspends all roles of a member.
    async fn suspend(&self, member: MemberId) -> SuspensionId {
        let env = &self.fixture.test_env;
        let suspension: SuspensionId = env.env.id();
        let suspended = MemberSuspended {
            suspension_id: suspension.to_string(),
            member_id: member.to_string(),
            roles: Vec::new(),
        };
        let org = self.fixture.school.org;
        env.apply_membership(org, Membership::MemberSuspended(suspended))
            .await;
        self.fixture.run_due_jobs().await;
        suspension
    }

    async fn reinstate(&self, suspension: SuspensionId) {
        let reinstated = MemberReinstated {
            suspension_id: suspension.to_string(),
        };
        let (env, org) = (&self.fixture.test_env, self.fixture.school.org);
        env.apply_membership(org, Membership::MemberReinstated(reinstated))
            .await;
        self.fixture.run_due_jobs().await;
    }

    /// Replaces the state of a member, with the only role that the member has.
    async fn change(&self, member: MemberId, role: Role, state: MemberState, verified: bool) {
        let env = &self.fixture.test_env;
        let school = self.fixture.school;
        school.admit(env, member, role, state, verified).await;
        self.fixture.run_due_jobs().await;
    }
}

// Covers: F18 allowed, F18 refused
on_both!(
    member_who_leaves_the_school_leaves_the_call_for_good,
    |database| async move {
        let lesson = Lesson::open(&database).await;
        let s = lesson.fixture.school;
        let (teacher, pupil) = (lesson.enter(s.teacher).await, lesson.enter(s.pupil).await);
        assert_eq!(lesson.media.calls(), 0);
        lesson
            .change(s.pupil, Role::Pupil, MemberState::Left, false)
            .await;
        assert!(!lesson.media.has(&pupil) && lesson.media.has(&teacher));
        assert_eq!(
            reason(&lesson.fixture.join(s.pupil, &lesson.call).await),
            "NOT_FOUND"
        );
        // The token is still valid for the media server. The member is out again within five seconds, for as
        // long as a token can be valid.
        for _ in 0..3 {
            lesson.media.enter(&pupil);
            lesson.pass(TimeDelta::seconds(5)).await;
            assert!(!lesson.media.has(&pupil));
        }
        // One removal is repeated, not one for each change.
        let calls = lesson.media.calls();
        lesson
            .change(s.pupil, Role::Pupil, MemberState::Left, false)
            .await;
        assert_eq!(lesson.media.calls(), calls);
        lesson.pass(TimeDelta::minutes(11)).await;
        let calls = lesson.media.calls();
        lesson.pass(TimeDelta::minutes(1)).await;
        assert_eq!(lesson.media.calls(), calls, "no token is valid any longer");
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
    lesson.reinstate(suspension).await;
    let again = lesson.enter(s.pupil).await;
    lesson.pass(TimeDelta::seconds(5)).await;
    assert!(lesson.media.has(&again));
    // The next loss counts again.
    lesson.suspend(s.pupil).await;
    assert!(!lesson.media.has(&again));
});

// The powers of the organizer end with the right to organize; the member may enter again without them.
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
    lesson
        .change(s.stranger, Role::Teacher, MemberState::Active, false)
        .await;
    assert!(lesson.media.has(&other));
});

// Covers: F13 refused, F18 refused
on_both!(limited_parent_leaves_the_parent_meeting, |database| async move {
    let mut lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    set_time(&lesson.fixture, "2026-09-01T08:00:00Z");
    let meeting = lesson.fixture.plan_request(CallKind::ParentMeeting);
    lesson.call = lesson.fixture.plan(s.class_teacher, meeting).await.unwrap();
    set_time(&lesson.fixture, "2026-09-01T09:00:00Z");
    lesson.enter(s.class_teacher).await;
    let parent = lesson.enter(s.parent).await;
    let limited = RelationLimited {
        guardian_id: s.parent.to_string(),
        child_id: s.pupil.to_string(),
        limits: vec![RelationLimit::NoWhereabouts.into()],
    };
    let env = &lesson.fixture.test_env;
    env.apply_membership(s.org, Membership::RelationLimited(limited))
        .await;
    lesson.fixture.run_due_jobs().await;
    assert!(!lesson.media.has(&parent));
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

// Covers: F18 refused
on_both!(removal_waits_for_the_media_server, |database| async move {
    let lesson = Lesson::open(&database).await;
    let s = lesson.fixture.school;
    let pupil = lesson.enter(s.pupil).await;
    lesson.media.fail(Some(503));
    lesson
        .change(s.pupil, Role::Pupil, MemberState::Left, false)
        .await;
    assert!(lesson.media.has(&pupil) && lesson.media.calls() > 0);
    lesson.media.fail(None);
    lesson.pass(TimeDelta::seconds(5)).await;
    assert!(!lesson.media.has(&pupil));
});
