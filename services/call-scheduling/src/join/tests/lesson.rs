//! A running lesson, and the changes that concern the people in it.
use chrono::TimeDelta;
use parta_ids::{AssignmentId, GuardianshipId, MemberId, SuspensionId};
use parta_proto_call_scheduling::v1::{self as pb, CallKind};
use parta_proto_membership::v1::{
    AssignmentCreated, AssignmentEnded, AssignmentKind, GuardianshipEstablished, GuardianshipKind,
    MemberAdmitted, MemberReinstated, MemberState, MemberSuspended, Role,
    membership_event::Payload as Membership,
};
use parta_testkit::{MediaServer, TestDatabase};

use super::set_time;
use crate::tests::fixture::Fixture;

/// The time between two looks into a room.
pub(super) const LOOK: TimeDelta = TimeDelta::seconds(5);

/// A running lesson of the class, its teacher and its pupil, and the media server.
pub(super) struct Lesson {
    pub(super) fixture: Fixture,
    pub(super) media: MediaServer,
    pub(super) call: pb::Call,
}

impl Lesson {
    pub(super) async fn open(database: &TestDatabase) -> Self {
        let media = MediaServer::start().await;
        let fixture = Fixture::open_with(database, &media.url()).await;
        let call = fixture.lesson(|_| ()).await;
        set_time(&fixture, "2026-09-01T09:00:00Z");
        Self { fixture, media, call }
    }

    /// [`Lesson::open`] with a call of another kind in place of the lesson.
    pub(super) async fn open_of(
        database: &TestDatabase,
        by: impl Fn(&Fixture) -> MemberId,
        kind: CallKind,
    ) -> Self {
        let mut lesson = Self::open(database).await;
        set_time(&lesson.fixture, "2026-09-01T08:00:00Z");
        let planned = lesson.fixture.plan_request(kind);
        lesson.call = lesson.fixture.plan(by(&lesson.fixture), planned).await.unwrap();
        set_time(&lesson.fixture, "2026-09-01T09:00:00Z");
        lesson
    }

    pub(super) async fn token(&self, member: MemberId) -> pb::IssueJoinTokenResponse {
        self.fixture.join(member, &self.call).await.unwrap()
    }

    /// A member gets a token for the call, enters with it, and is judged by the facts of the moment.
    pub(super) async fn enter(&self, member: MemberId) -> String {
        let token = self.token(member).await.token;
        self.media.enter(&token);
        self.pass(LOOK).await;
        assert!(self.media.has(&token));
        token
    }

    pub(super) async fn pass(&self, span: TimeDelta) {
        self.fixture.test_env.time.advance(span);
        self.fixture.run_due_jobs().await;
    }

    /// Lets time pass with a look every five seconds.
    pub(super) async fn pass_looking(&self, span: TimeDelta) {
        for _ in 0..span.num_seconds() / LOOK.num_seconds() {
            self.pass(LOOK).await;
        }
    }

    /// A person enters with an earlier token, and is out at the next look.
    pub(super) async fn is_put_out(&self, token: &str) {
        self.media.enter(token);
        self.pass(LOOK).await;
        assert!(!self.media.has(token));
    }

    pub(super) async fn apply(&self, event: Membership) {
        let (env, org) = (&self.fixture.test_env, self.fixture.school.org);
        env.apply_membership(org, event).await;
        self.fixture.run_due_jobs().await;
    }

    /// Suspends all roles of a member.
    pub(super) async fn suspend(&self, member: MemberId) -> SuspensionId {
        let suspension: SuspensionId = self.fixture.test_env.env.id();
        let suspended = MemberSuspended {
            suspension_id: suspension.to_string(),
            member_id: member.to_string(),
            roles: Vec::new(),
        };
        self.apply(Membership::MemberSuspended(suspended)).await;
        suspension
    }

    pub(super) async fn reinstate(&self, suspension: SuspensionId) {
        let suspension_id = suspension.to_string();
        self.apply(Membership::MemberReinstated(MemberReinstated { suspension_id }))
            .await;
    }

    /// Replaces the state of a member, with the only role that the member has.
    pub(super) async fn change(&self, member: MemberId, role: Role, state: MemberState, verified: bool) {
        let env = &self.fixture.test_env;
        let school = self.fixture.school;
        school.admit(env, member, role, state, verified).await;
        self.fixture.run_due_jobs().await;
    }

    /// Admits a teacher who is a parent, too, or replaces the state of one.
    pub(super) async fn teacher_and_parent(&self, member: MemberId, verified: bool) {
        let admitted = MemberAdmitted {
            member_id: member.to_string(),
            state: MemberState::Active.into(),
            roles: vec![Role::Teacher.into(), Role::Parent.into()],
            teacher_verified: verified,
            ..Default::default()
        };
        self.apply(Membership::MemberAdmitted(admitted)).await;
    }

    /// Assigns a member to the class.
    pub(super) async fn assign(&self, member: MemberId, kind: AssignmentKind) -> AssignmentId {
        let id: AssignmentId = self.fixture.test_env.env.id();
        let created = AssignmentCreated {
            assignment_id: id.to_string(),
            member_id: member.to_string(),
            unit_id: self.fixture.school.class.to_string(),
            kind: kind.into(),
            substitution: false,
            begin_time: None,
        };
        self.apply(Membership::AssignmentCreated(created)).await;
        id
    }

    pub(super) async fn end_assignment(&self, id: AssignmentId) {
        let assignment_id = id.to_string();
        self.apply(Membership::AssignmentEnded(AssignmentEnded { assignment_id }))
            .await;
    }

    /// Makes a member a parent of the pupil.
    pub(super) async fn relate(&self, guardian: MemberId) -> GuardianshipId {
        let id: GuardianshipId = self.fixture.test_env.env.id();
        let established = GuardianshipEstablished {
            guardianship_id: id.to_string(),
            guardian_id: guardian.to_string(),
            child_id: self.fixture.school.pupil.to_string(),
            confirmed: true,
            kind: GuardianshipKind::Parent.into(),
            unit_rooms_only: false,
            begin_time: None,
        };
        self.apply(Membership::GuardianshipEstablished(established)).await;
        id
    }
}
