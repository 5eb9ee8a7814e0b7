//! F3, F13, F15, R83: planning a call gives nobody whom the roster keeps apart.
use parta_ids::{GuardianshipId, MemberId};
use parta_proto_call_scheduling::v1::{self as pb, CallFormat, CallKind};
use parta_proto_membership::v1::{
    GuardianshipEstablished, GuardianshipKind, MemberAdmitted, MemberState, RelationLimit, RelationLimited,
    Role, membership_event::Payload as Membership,
};
use parta_service_testkit::reason;
use parta_testkit::on_both;

use crate::tests::fixture::Fixture;

const DENIED: &str = "PERMISSION_DENIED";

impl Fixture {
    async fn limit(&self, guardian: MemberId, limit: RelationLimit) {
        let limited = RelationLimited {
            guardian_id: guardian.to_string(),
            child_id: self.school.pupil.to_string(),
            limits: vec![limit.into()],
        };
        self.test_env
            .apply_membership(self.school.org, Membership::RelationLimited(limited))
            .await;
    }

    /// Admits a verified teacher with another role, who has no assignment.
    async fn cleared(&self, role: Role) -> MemberId {
        let member: MemberId = self.test_env.env.id();
        let admitted = MemberAdmitted {
            member_id: member.to_string(),
            state: MemberState::Active.into(),
            roles: vec![Role::Teacher.into(), role.into()],
            teacher_verified: true,
            ..Default::default()
        };
        self.test_env
            .apply_membership(self.school.org, Membership::MemberAdmitted(admitted))
            .await;
        member
    }

    /// Plans a call of the class with these participants, and returns it or the reason of the refusal.
    async fn plan_with(
        &self,
        by: MemberId,
        kind: CallKind,
        participants: &[MemberId],
    ) -> Result<pb::Call, String> {
        let wanted = pb::PlanCallRequest {
            participant_ids: participants.iter().map(ToString::to_string).collect(),
            ..self.plan_request(kind)
        };
        let planned = self.plan(by, wanted).await;
        let refusal = reason(&planned);
        planned.map_err(|_| refusal)
    }
}

// The title and the place of a call reach the child: a father under NO_CONTACT who teaches the class wrote to
// it by planning a call.
// Covers: F13 refused, F18 refused, R50 refused
on_both!(
    limited_teacher_plans_no_call_with_the_child,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let s = fixture.school;
        for kind in [CallKind::Consultation, CallKind::Lesson] {
            fixture.plan_with(s.teacher, kind, &[s.pupil]).await.unwrap();
        }
        fixture.limit(s.teacher, RelationLimit::NoContact).await;
        for (kind, named) in [
            (CallKind::Consultation, &[s.pupil][..]),
            (CallKind::Lesson, &[s.pupil]),
            (CallKind::Lesson, &[]),
        ] {
            let refused = fixture.plan_with(s.teacher, kind, named).await;
            assert_eq!(refused.unwrap_err(), DENIED, "{kind:?}");
        }
        // Another teacher of the class is not limited.
        fixture
            .plan_with(s.class_teacher, CallKind::Lesson, &[])
            .await
            .unwrap();
    }
);

// The administration plans calls for a whole class, and names only pupils whom it meets.
// Covers: F3 allowed, F3 refused, R50 allowed, R50 refused
on_both!(office_alone_names_no_pupil, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let deputy = fixture.cleared(Role::Deputy).await;
    for member in [s.administrator, deputy] {
        let refused = fixture.plan_with(member, CallKind::Olympiad, &[s.pupil]).await;
        assert_eq!(refused.unwrap_err(), DENIED);
        fixture.plan_with(member, CallKind::Olympiad, &[]).await.unwrap();
    }
    // A badge and an office admit nobody to the lessons of a class.
    let lesson = fixture.lesson(|_| ()).await;
    fixture.test_env.time.set("2026-09-01T09:00:00Z".parse().unwrap());
    assert_eq!(reason(&fixture.join(deputy, &lesson).await), DENIED);
    assert_eq!(reason(&fixture.join(s.teacher, &lesson).await), "OK");
});

// Covers: F15 allowed, F15 refused
on_both!(one_pupil_is_met_by_video_in_a_lesson, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    for kind in [CallKind::Lesson, CallKind::Consultation] {
        fixture.plan_with(s.teacher, kind, &[s.pupil]).await.unwrap();
    }
    for kind in [
        CallKind::StudyGroupMeeting,
        CallKind::ExtracurricularSession,
        CallKind::Excursion,
        CallKind::Contest,
    ] {
        let refused = fixture.plan_with(s.teacher, kind, &[s.pupil]).await;
        assert_eq!(refused.unwrap_err(), "SUPERVISION_REQUIRED", "{kind:?}");
        let in_person = pb::PlanCallRequest {
            participant_ids: vec![s.pupil.to_string()],
            format: CallFormat::InPerson.into(),
            room: "каб. 12".to_owned(),
            ..fixture.plan_request(kind)
        };
        assert_eq!(reason(&fixture.plan(s.teacher, in_person).await), "OK");
    }
});

// A parent meeting says where the other parent of the child will be.
// Covers: F13 allowed, F13 refused, R49 refused
on_both!(limit_hides_the_parent_meeting, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let meeting = fixture
        .plan_with(s.class_teacher, CallKind::ParentMeeting, &[])
        .await
        .unwrap();
    fixture.test_env.time.set("2026-09-01T09:00:00Z".parse().unwrap());
    fixture.limit(s.parent, RelationLimit::NoDecisions).await;
    assert_eq!(reason(&fixture.join(s.parent, &meeting).await), "OK");
    fixture.limit(s.parent, RelationLimit::NoWhereabouts).await;
    assert_eq!(reason(&fixture.join(s.parent, &meeting).await), DENIED);
    assert_eq!(fixture.list(s.parent).await.len(), 0);
});

// Case 27: families see and join an event of the whole school; a limit hides it.
// Covers: R49 allowed, R49 refused, F25 allowed, F13 refused
on_both!(families_see_an_event_of_the_school, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let in_staff_room = |kind| pb::PlanCallRequest {
        unit_id: s.staff_room.to_string(),
        ..fixture.plan_request(kind)
    };
    let event = in_staff_room(CallKind::SchoolEvent);
    let event = fixture.plan(s.administrator, event).await.unwrap();
    let council = in_staff_room(CallKind::PedagogicalCouncil);
    fixture.plan(s.administrator, council).await.unwrap();
    fixture.test_env.time.set("2026-09-01T09:00:00Z".parse().unwrap());
    for member in [s.pupil, s.other_pupil, s.parent] {
        let listed = fixture.list(member).await;
        let ids: Vec<_> = listed.iter().map(|o| o.call_id.as_str()).collect();
        assert_eq!(ids, [event.id.as_str()]);
        assert_eq!(reason(&fixture.join(member, &event).await), "OK");
    }
    // Staff without clearance are in no call with pupils.
    assert_eq!(reason(&fixture.join(s.unverified, &event).await), DENIED);
    fixture.limit(s.parent, RelationLimit::NoWhereabouts).await;
    assert_eq!(fixture.list(s.parent).await.len(), 0);
});

// Covers: R83 allowed, R83 refused, F21 refused
on_both!(families_see_only_their_own_participants, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let (classmate, mother): (MemberId, MemberId) = (fixture.test_env.env.id(), fixture.test_env.env.id());
    let (active, pupil, parent) = (MemberState::Active, Role::Pupil, Role::Parent);
    s.admit(&fixture.test_env, classmate, pupil, active, false).await;
    s.enroll(&fixture.test_env, classmate, s.class).await;
    s.admit(&fixture.test_env, mother, parent, active, false).await;
    let established = GuardianshipEstablished {
        guardianship_id: fixture.test_env.env.id::<GuardianshipId>().to_string(),
        guardian_id: mother.to_string(),
        child_id: classmate.to_string(),
        confirmed: true,
        kind: GuardianshipKind::Parent.into(),
        unit_rooms_only: false,
        begin_time: None,
    };
    fixture
        .test_env
        .apply_membership(s.org, Membership::GuardianshipEstablished(established))
        .await;
    let named = [s.pupil, classmate, mother];
    let call = fixture
        .plan_with(s.teacher, CallKind::Excursion, &named)
        .await
        .unwrap();
    assert_eq!(call.participant_ids.len(), 3);
    for (member, expected) in [
        (s.pupil, vec![s.pupil]),
        (s.parent, vec![s.pupil]),
        (mother, vec![classmate, mother]),
    ] {
        let mut expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        let mut shown = fixture.get(member, &call).await.participant_ids;
        expected.sort();
        shown.sort();
        assert_eq!(shown, expected);
    }
    assert_eq!(fixture.get(s.administrator, &call).await.participant_ids.len(), 3);
});
