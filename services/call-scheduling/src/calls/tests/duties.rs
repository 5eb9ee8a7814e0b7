//! Duties whose kind has the function to be in rooms (F3).
use parta_ids::{DutyId, MemberId, UnitId};
use parta_proto_call_scheduling::v1::{self as pb, CallKind};
use parta_proto_membership::v1::{
    DutyAssigned, DutyEnded, DutyKind, DutyPupils, DutyScope, MemberState, Role, duty_scope::Scope,
    membership_event::Payload,
};
use parta_service_testkit::reason;
use parta_testkit::on_both;

use crate::tests::fixture::Fixture;

const DENIED: &str = "PERMISSION_DENIED";

fn pupils(members: &[MemberId]) -> Scope {
    Scope::Pupils(DutyPupils {
        member_ids: members.iter().map(ToString::to_string).collect(),
    })
}

impl Fixture {
    /// Admits a member of the staff with a duty.
    async fn holder(&self, kind: DutyKind, scope: Scope) -> (MemberId, DutyId) {
        let (member, duty): (MemberId, DutyId) = (self.test_env.env.id(), self.test_env.env.id());
        let (role, state) = (Role::Staff, MemberState::Active);
        self.school
            .admit(&self.test_env, member, role, state, false)
            .await;
        let assigned = DutyAssigned {
            duty_id: duty.to_string(),
            member_id: member.to_string(),
            kind: kind.into(),
            scope: Some(DutyScope { scope: Some(scope) }),
            begin_time: None,
        };
        self.test_env
            .apply_membership(self.school.org, Payload::DutyAssigned(assigned))
            .await;
        (member, duty)
    }

    /// Ends a duty.
    async fn end(&self, duty: DutyId) {
        let ended = DutyEnded {
            duty_id: duty.to_string(),
        };
        self.test_env
            .apply_membership(self.school.org, Payload::DutyEnded(ended))
            .await;
    }

    /// Adds another pupil to a class.
    async fn classmate(&self, unit: UnitId) -> MemberId {
        let member: MemberId = self.test_env.env.id();
        let s = self.school;
        s.admit(&self.test_env, member, Role::Pupil, MemberState::Active, false)
            .await;
        s.enroll(&self.test_env, member, unit).await;
        member
    }

    /// Plans a call of this kind with these participants, and returns it or the reason of the refusal.
    async fn try_plan(
        &self,
        by: MemberId,
        kind: CallKind,
        unit: UnitId,
        participants: &[MemberId],
    ) -> Result<pb::Call, String> {
        let wanted = pb::PlanCallRequest {
            unit_id: unit.to_string(),
            participant_ids: participants.iter().map(ToString::to_string).collect(),
            ..self.plan_request(kind)
        };
        let planned = self.plan(by, wanted).await;
        let refusal = reason(&planned);
        planned.map_err(|_| refusal)
    }

    async fn joined(&self, member: MemberId, call: &pb::Call) -> String {
        reason(&self.join(member, call).await)
    }

    fn set_start(&self) {
        self.test_env.time.set("2026-09-01T09:00:00Z".parse().unwrap());
    }
}

// A psychologist of the organization organizes consultations for any class and for named pupils, and opens
// them as a teacher does. The lessons of a class remain those of its teachers. The end of the duty ends it.
// Covers: R50 allowed, R50 refused, R55 allowed, R55 refused, F3 allowed, F3 refused, F15 allowed
on_both!(psychologist_holds_consultations, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let (holder, duty) = fixture
        .holder(DutyKind::Psychologist, Scope::Organization(true))
        .await;
    let (talk, class) = (CallKind::Consultation, s.class);
    let named = fixture.try_plan(holder, talk, class, &[s.pupil]).await.unwrap();
    let whole = fixture.try_plan(holder, talk, s.other_class, &[]).await.unwrap();
    for kind in [CallKind::Lesson, CallKind::ClassHour, CallKind::ParentMeeting] {
        let refused = fixture.try_plan(holder, kind, class, &[]).await;
        assert_eq!(refused.unwrap_err(), DENIED, "{kind:?}");
    }
    let by_teacher = fixture
        .try_plan(s.teacher, talk, class, &[s.pupil, holder])
        .await
        .unwrap();
    let lesson = fixture.lesson(|_| ()).await;
    fixture.set_start();
    assert!(fixture.join(s.pupil, &named).await.unwrap().lobby);
    assert!(!fixture.join(holder, &named).await.unwrap().lobby);
    assert!(!fixture.join(s.pupil, &named).await.unwrap().lobby);
    assert_eq!(fixture.joined(holder, &whole).await, "OK");
    assert_eq!(fixture.joined(holder, &by_teacher).await, "OK");
    assert_eq!(fixture.joined(holder, &lesson).await, DENIED);
    let listed = fixture.list(holder).await;
    assert_eq!((listed.len(), listed.iter().all(|o| o.may_join)), (3, true));
    fixture.end(duty).await;
    for call in [&named, &whole, &by_teacher] {
        assert_eq!(fixture.joined(holder, call).await, DENIED);
    }
    assert_eq!(
        fixture.try_plan(holder, talk, class, &[s.pupil]).await,
        Err(DENIED.to_owned())
    );
});

// A duty for a class admits its holder to the calls with the pupils of that class, and in no other.
// Covers: R49 allowed, R49 refused, F3 allowed, F3 refused
on_both!(duty_for_a_class_is_in_its_calls_only, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let (holder, _) = fixture
        .holder(DutyKind::SocialPedagogue, Scope::UnitId(s.class.to_string()))
        .await;
    let lesson = fixture.lesson(|_| ()).await;
    let meeting = fixture.try_plan(s.class_teacher, CallKind::ParentMeeting, s.class, &[]);
    let meeting = meeting.await.unwrap();
    let other = fixture.try_plan(s.stranger, CallKind::Lesson, s.other_class, &[]);
    let other = other.await.unwrap();
    fixture.set_start();
    assert!(!fixture.join(holder, &lesson).await.unwrap().lobby);
    assert_eq!(fixture.joined(holder, &meeting).await, DENIED);
    assert_eq!(fixture.joined(holder, &other).await, DENIED);
    assert_eq!(fixture.list(holder).await.len(), 1);
    let (session, participant) = (CallKind::ExtracurricularSession, s.other_pupil);
    fixture.try_plan(holder, session, s.class, &[]).await.unwrap();
    for participants in [&[][..], &[participant]] {
        let refused = fixture.try_plan(holder, session, s.other_class, participants);
        assert_eq!(refused.await.unwrap_err(), DENIED);
    }
});

// A tutor, an assistant and an interpreter are in calls with the named pupils and their parents, and in none
// with another pupil.
// Covers: R49 allowed, R49 refused, F3 allowed, F3 refused
on_both!(tutor_is_in_calls_with_named_pupils, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let classmate = fixture.classmate(s.class).await;
    let (talk, class) = (CallKind::Consultation, s.class);
    for kind in [DutyKind::Tutor, DutyKind::Assistant, DutyKind::Interpreter] {
        let (holder, _) = fixture.holder(kind, pupils(&[s.pupil])).await;
        for participants in [&[s.pupil][..], &[s.pupil, s.parent], &[s.parent]] {
            fixture.try_plan(holder, talk, class, participants).await.unwrap();
        }
        for participants in [&[][..], &[classmate], &[s.pupil, classmate]] {
            let refused = fixture.try_plan(holder, talk, class, participants).await;
            assert_eq!(refused.unwrap_err(), DENIED, "{kind:?}");
        }
        let by_teacher = [s.pupil, s.class_teacher, holder];
        let by_teacher = fixture
            .try_plan(s.teacher, talk, class, &by_teacher)
            .await
            .unwrap();
        let with_classmate = [s.pupil, classmate, holder];
        let refused = fixture.try_plan(s.teacher, talk, class, &with_classmate).await;
        assert_eq!(refused.unwrap_err(), "PARTICIPANT_NOT_CONCERNED");
        let lesson = fixture.lesson(|_| ()).await;
        assert_eq!(reason(&fixture.join(holder, &lesson).await), DENIED);
        let listed = fixture.list(holder).await;
        assert_eq!((listed.len(), listed.iter().all(|o| o.may_join)), (4, true));
        assert!(listed.iter().any(|o| o.call_id == by_teacher.id));
    }
});

// A duty without the function to be in rooms gives no call.
// Covers: F3 refused
on_both!(duty_without_rooms_gives_no_call, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let (talk, class) = (CallKind::Consultation, s.class);
    let lesson = fixture.lesson(|_| ()).await;
    fixture.set_start();
    let everybody = || Scope::Organization(true);
    for (kind, scope) in [
        (DutyKind::Nurse, everybody()),
        (DutyKind::Librarian, everybody()),
        (DutyKind::Safeguarding, everybody()),
        (DutyKind::Office, everybody()),
        (DutyKind::Transport, pupils(&[s.pupil])),
    ] {
        let (holder, _) = fixture.holder(kind, scope).await;
        for participants in [&[][..], &[s.pupil]] {
            let refused = fixture.try_plan(holder, talk, class, participants).await;
            assert_eq!(refused.unwrap_err(), DENIED, "{kind:?}");
        }
        let refused = fixture.try_plan(s.teacher, talk, class, &[s.pupil, holder]).await;
        assert_eq!(refused.unwrap_err(), "PARTICIPANT_NOT_CONCERNED", "{kind:?}");
        assert_eq!(fixture.joined(holder, &lesson).await, DENIED);
        assert_eq!(fixture.list(holder).await, []);
    }
});
