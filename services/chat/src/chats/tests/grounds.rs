//! F14, F15: an adult is in a named chat with pupils by a ground toward every pupil in it, and nobody joins
//! by a badge, a suspended role or their own appointment.
use parta_ids::{GuardianshipId, MemberId, SuspensionId};
use parta_proto_chat::v1::ChatKind::*;
use parta_proto_membership::v1::{self as members, RelationLimit, membership_event::Payload as Member};
use parta_testkit::on_both;
use tonic::Code;

use super::unsupervised::{read_only, verified};
use crate::tests::school::*;

fn not_reachable() -> (Code, String) {
    (Code::PermissionDenied, "MEMBER_NOT_REACHABLE".to_owned())
}

impl School {
    /// Admits a verified teacher without a task, who may have other roles too.
    pub(super) async fn badge_holder(&self, others: &[Role]) -> MemberId {
        let member = self.fixture.env.id::<MemberId>();
        let roles: Vec<Role> = [Role::Teacher]
            .into_iter()
            .chain(others.iter().copied())
            .collect();
        self.apply(vec![admitted_in(member, &roles, true)]).await;
        member
    }

    pub(super) async fn suspend(&self, member: MemberId, roles: &[Role]) -> SuspensionId {
        let suspension = self.fixture.env.id::<SuspensionId>();
        let suspended = members::MemberSuspended {
            suspension_id: suspension.to_string(),
            member_id: member.to_string(),
            roles: roles.iter().map(|role| i32::from(*role)).collect(),
        };
        self.apply(vec![Member::MemberSuspended(suspended)]).await;
        suspension
    }

    pub(super) async fn reinstate(&self, suspension: SuspensionId) {
        let reinstated = members::MemberReinstated {
            suspension_id: suspension.to_string(),
        };
        self.apply(vec![Member::MemberReinstated(reinstated)]).await;
    }

    /// Makes the member a confirmed guardian of the child.
    pub(super) async fn relate(&self, guardian: MemberId, child: MemberId) {
        let related = members::GuardianshipEstablished {
            guardianship_id: self.fixture.env.id::<GuardianshipId>().to_string(),
            guardian_id: guardian.to_string(),
            child_id: child.to_string(),
            confirmed: true,
            kind: members::GuardianshipKind::Parent.into(),
            unit_rooms_only: false,
            begin_time: None,
        };
        self.apply(vec![Member::GuardianshipEstablished(related)]).await;
    }
}

// Case 51: neither staff nor the administration brings a teacher without a task together with a pupil.
// Covers: F14 allowed, F14 refused, F15 refused
on_both!(
    badge_without_a_task_is_no_ground_to_be_with_pupils,
    |database| async move {
        let s = School::open(database).await;
        let badge = s.badge_holder(&[]).await;
        let refused = code(s.custom(s.class_teacher, &[s.pupil, badge]).await);
        assert_eq!(refused, not_reachable());
        let of_staff = s.custom(s.class_teacher, &[badge]).await.unwrap();
        assert_eq!(
            code(s.add(s.class_teacher, of_staff, &[s.pupil]).await),
            not_reachable()
        );
        s.send(badge, of_staff, "можно").await.unwrap();
        let with_pupil = s.custom(s.class_teacher, &[s.pupil]).await.unwrap();
        let refused = code(s.add(s.class_teacher, with_pupil, &[badge]).await);
        assert_eq!(refused, not_reachable());
        // A verified deputy who teaches another class makes no chat of a teacher with a pupil.
        let deputy = s.badge_holder(&[Role::Deputy]).await;
        for named in [&[s.pupil][..], &[badge, s.pupil], &[s.class_teacher, s.pupil]] {
            assert_eq!(code(s.custom(deputy, named).await), not_reachable());
        }
        // With a task each of them comes in.
        s.apply(vec![s.assigned(badge, s.class, AssignmentKind::SubjectTeacher)])
            .await;
        s.add(s.class_teacher, with_pupil, &[badge]).await.unwrap();
        s.send(badge, with_pupil, "можно").await.unwrap();
    }
);

// A suspended role is no ground in a named chat, whatever else the member is.
// Covers: R82 allowed, R82 refused, F4 refused, F5 refused, F14 refused
on_both!(
    suspended_teacher_has_no_other_way_to_pupils,
    |database| async move {
        let s = School::open(database).await;
        let second = s.badge_holder(&[Role::Staff]).await;
        s.apply(vec![s.assigned(second, s.class, AssignmentKind::SubjectTeacher)])
            .await;
        let chat = s.custom(s.class_teacher, &[s.pupil, second]).await.unwrap();
        let colleagues = s.custom(s.class_teacher, &[second]).await.unwrap();
        s.send(s.class_teacher, chat, "до").await.unwrap();
        let suspension = s.suspend(second, &[Role::Teacher]).await;
        s.send(s.class_teacher, chat, "после").await.unwrap();
        assert_eq!(code(s.send(second, chat, "нет").await).0, Code::NotFound);
        assert_eq!(s.texts(second, chat).await, ["до"]);
        // The role that is in force stays a ground among the staff.
        s.send(second, colleagues, "да").await.unwrap();
        for refused in [
            code(s.add(s.class_teacher, chat, &[second]).await),
            code(s.custom(s.class_teacher, &[s.pupil, second]).await),
            code(s.add(s.class_teacher, colleagues, &[s.pupil]).await),
        ] {
            assert_eq!(refused, not_reachable());
        }
        s.reinstate(suspension).await;
        assert_eq!(code(s.send(second, chat, "нет").await).0, Code::NotFound);
        s.add(s.class_teacher, chat, &[second]).await.unwrap();
        s.send(second, chat, "снова").await.unwrap();
    }
);

// While all roles of the only adult are suspended the pupils are alone, and afterwards she is back.
// Covers: R82 allowed, F5 allowed, F15 refused
on_both!(suspended_adult_supervises_nobody, |database| async move {
    let s = School::open(database).await;
    let teacher = s.class_teacher;
    let named = [s.pupil, s.classmate, s.parent];
    let chat = s.custom(teacher, &named).await.unwrap();
    s.send(s.parent, chat, "до").await.unwrap();
    let suspension = s.suspend(teacher, &[]).await;
    assert_eq!(code(s.send(s.pupil, chat, "нет").await), read_only());
    let suspended = code(s.read(teacher, chat).await);
    assert_eq!(suspended.1, "MEMBER_SUSPENDED");
    // A parent is beside other pupils under an adult only.
    assert_eq!(code(s.send(s.parent, chat, "нет").await).0, Code::NotFound);
    s.reinstate(suspension).await;
    s.send(teacher, chat, "снова").await.unwrap();
    s.send(s.pupil, chat, "снова").await.unwrap();
    assert_eq!(code(s.send(s.parent, chat, "нет").await).0, Code::NotFound);
});

// Covers: F13 refused, F14 refused
on_both!(
    limit_of_whereabouts_closes_the_named_chats,
    |database| async move {
        let s = School::open(database).await;
        let teacher = s.class_teacher;
        let chat = s
            .custom(teacher, &[s.pupil, s.parent, s.classmate])
            .await
            .unwrap();
        let own = s.custom(teacher, &[s.parent]).await.unwrap();
        s.limit(s.parent, &[RelationLimit::NoWhereabouts]).await;
        s.send(teacher, chat, "едем в музей").await.unwrap();
        assert_eq!(code(s.send(s.parent, chat, "куда?").await).0, Code::NotFound);
        assert!(s.texts(s.parent, chat).await.is_empty());
        let refused = code(s.add(teacher, chat, &[s.parent]).await);
        assert_eq!(refused, not_reachable());
        let refused = code(s.add(teacher, own, &[s.pupil]).await);
        assert_eq!(refused, not_reachable());
        s.send(s.parent, own, "можно").await.unwrap();
        // The administration learns why.
        let deputy = s.badge_holder(&[Role::Deputy]).await;
        s.apply(vec![s.assigned(deputy, s.class, AssignmentKind::SubjectTeacher)])
            .await;
        let refused = code(s.custom(deputy, &[s.pupil, s.parent]).await);
        assert_eq!(refused.1, "RELATION_LIMITED");
    }
);

// Covers: F13 refused, F14 refused, R82 allowed
on_both!(limit_holds_while_the_child_is_suspended, |database| async move {
    let s = School::open(database).await;
    let teacher = s.class_teacher;
    let chat = s
        .custom(teacher, &[s.pupil, s.parent, s.classmate])
        .await
        .unwrap();
    let suspension = s.suspend(s.pupil, &[]).await;
    s.send(s.parent, chat, "до").await.unwrap();
    s.limit(s.parent, &[RelationLimit::NoContact]).await;
    assert_eq!(code(s.send(s.parent, chat, "нет").await).0, Code::NotFound);
    let refused = code(s.add(teacher, chat, &[s.parent]).await);
    assert_eq!(refused, not_reachable());
    s.reinstate(suspension).await;
    // The teacher has stayed with the suspended child, who is back.
    s.send(s.pupil, chat, "снова").await.unwrap();
    s.send(teacher, chat, "снова").await.unwrap();
});

// Covers: F14 allowed, F14 refused
on_both!(
    nobody_appoints_themselves_to_a_chat_of_others,
    |database| async move {
        let s = School::open(database).await;
        let deputy = s.badge_holder(&[Role::Deputy]).await;
        s.apply(vec![s.assigned(deputy, s.class, AssignmentKind::SubjectTeacher)])
            .await;
        let named = [s.pupil, s.classmate];
        let chat = s.custom(s.class_teacher, &named).await.unwrap();
        s.send(s.pupil, chat, "тайна").await.unwrap();
        s.suspend(s.class_teacher, &[]).await;
        let second_person = (Code::PermissionDenied, "SECOND_PERSON_REQUIRED".to_owned());
        for with in [&[deputy][..], &[s.subject_teacher, deputy]] {
            assert_eq!(code(s.add(deputy, chat, with).await), second_person);
        }
        assert_eq!(code(s.read(deputy, chat).await).0, Code::NotFound);
        assert_eq!(code(s.transfer(deputy, chat, deputy, None).await), second_person);
        s.transfer(s.head, chat, deputy, None).await.unwrap();
        s.send(deputy, chat, "здравствуйте").await.unwrap();
        assert_eq!(s.texts(deputy, chat).await, ["здравствуйте"]);
    }
);

// A head without clearance who has a child in the school is with parents as a parent only.
// Covers: F4 refused, F14 refused, F16 refused
on_both!(
    head_with_a_child_has_no_private_chat_with_parents,
    |database| async move {
        let s = School::open(database).await;
        let roles = [Role::Head, Role::Parent];
        s.apply(vec![admitted_in(s.head, &roles, false)]).await;
        s.relate(s.head, s.classmate).await;
        assert_eq!(code(s.custom(s.head, &[s.parent]).await), not_reachable());
        let chat = s.custom(s.class_teacher, &[s.parent, s.head]).await.unwrap();
        s.send(s.head, chat, "как родитель").await.unwrap();
        s.apply(vec![verified(s.class_teacher, false)]).await;
        assert_eq!(code(s.send(s.head, chat, "нет").await).0, Code::NotFound);
        assert!(s.list(s.head).await.iter().all(|chat| chat.kind() != Custom));
    }
);
