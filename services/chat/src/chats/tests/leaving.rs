//! F14, F15: with the ground of an adult, or with the last adult who is responsible, those leave a named chat
//! who may not be in it without them.
use parta_ids::{AssignmentId, MemberId};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_proto_org_registry::v1::{self as orgs, org_registry_event::Payload as Org};
use parta_testkit::on_both;
use tonic::Code;

use super::unsupervised::{read_only, verified};
use crate::tests::school::*;

impl School {
    /// A verified teacher with a task in the class that can end.
    async fn teacher_for_a_time(&self, substitution: bool) -> (MemberId, AssignmentId) {
        let teacher = self.badge_holder(&[]).await;
        let assignment = self.fixture.env.id::<AssignmentId>();
        let task = members::AssignmentCreated {
            assignment_id: assignment.to_string(),
            member_id: teacher.to_string(),
            unit_id: self.class.to_string(),
            kind: AssignmentKind::ClassTeacher.into(),
            substitution,
            begin_time: None,
        };
        self.apply(vec![Member::AssignmentCreated(task)]).await;
        (teacher, assignment)
    }

    async fn end_task(&self, assignment: AssignmentId) {
        let ended = members::AssignmentEnded {
            assignment_id: assignment.to_string(),
        };
        self.apply(vec![Member::AssignmentEnded(ended)]).await;
    }
}

// Case 15: a teacher is replaced. She is out, and the class teacher of the unit is responsible at once and
// reads from the joining. Nobody else leaves.
// Covers: F14 allowed, F14 refused, F15 allowed, F22 refused
on_both!(replaced_teacher_leaves_the_named_chats, |database| async move {
    let s = School::open(database).await;
    let (earlier, task) = s.teacher_for_a_time(false).await;
    let named = [s.pupil, s.classmate, s.parent];
    let chat = s.custom(earlier, &named).await.unwrap();
    s.send(earlier, chat, "до").await.unwrap();
    s.end_task(task).await;
    assert_eq!(code(s.send(earlier, chat, "нет").await).0, Code::NotFound);
    assert_eq!(
        code(s.add(earlier, chat, &[s.unverified]).await).0,
        Code::NotFound
    );
    assert_eq!(code(s.remove(earlier, chat, &[s.pupil]).await).0, Code::NotFound);
    s.send(s.pupil, chat, "здравствуйте").await.unwrap();
    s.send(s.parent, chat, "здравствуйте").await.unwrap();
    let seen = s.get(s.class_teacher, chat).await.unwrap();
    assert_eq!(seen.responsible_id, s.class_teacher.to_string());
    assert_eq!(
        s.texts(s.class_teacher, chat).await,
        ["здравствуйте", "здравствуйте"]
    );
    // She is not named again, and neither is a teacher of nobody here.
    for nobody in [earlier, s.badge_holder(&[]).await] {
        let refused = code(s.add(s.class_teacher, chat, &[nobody]).await);
        assert_eq!(refused.1, "MEMBER_NOT_REACHABLE");
    }
    assert_eq!(s.texts(earlier, chat).await, ["до"]);
    // A new task brings nobody back.
    let again = s.assigned(earlier, s.class, AssignmentKind::SubjectTeacher);
    s.apply(vec![again]).await;
    assert_eq!(code(s.send(earlier, chat, "нет").await).0, Code::NotFound);
});

// Case 14: a former guardian is out, also if another child is taught by the same teacher.
// Covers: F12 refused, F14 refused
on_both!(
    guardian_leaves_the_named_chat_with_the_relation,
    |database| async move {
        let s = School::open(database).await;
        s.relate(s.parent, s.classmate).await;
        let chat = s.custom(s.class_teacher, &[s.pupil, s.parent]).await.unwrap();
        s.send(s.parent, chat, "до").await.unwrap();
        let ended = members::GuardianshipEnded {
            guardianship_id: s.guardianship.to_string(),
        };
        s.apply(vec![Member::GuardianshipEnded(ended)]).await;
        s.send(s.class_teacher, chat, "после").await.unwrap();
        assert_eq!(code(s.send(s.parent, chat, "нет").await).0, Code::NotFound);
        assert_eq!(s.texts(s.parent, chat).await, ["до"]);
        let refused = code(s.add(s.class_teacher, chat, &[s.parent]).await);
        assert_eq!(refused.1, "MEMBER_NOT_REACHABLE");
    }
);

// Covers: F14 refused, F15 allowed, F15 refused
on_both!(
    last_responsible_adult_leaves_nobody_beside_pupils,
    |database| async move {
        let s = School::open(database).await;
        let (stand_in, _) = s.teacher_for_a_time(true).await;
        let teacher = s.class_teacher;
        let with_parent = s
            .custom(teacher, &[s.pupil, s.classmate, s.parent])
            .await
            .unwrap();
        let with_stand_in = s.custom(teacher, &[s.pupil, stand_in]).await.unwrap();
        let of_class = s
            .custom(teacher, &[s.pupil, s.classmate, stand_in])
            .await
            .unwrap();
        s.apply(vec![verified(teacher, false)]).await;
        assert_eq!(code(s.send(s.parent, with_parent, "нет").await).0, Code::NotFound);
        assert_eq!(code(s.send(s.pupil, with_parent, "нет").await), read_only());
        // A substitute is not alone with one pupil, as in personal chats, and is responsible for nobody (F3).
        assert_eq!(
            code(s.send(stand_in, with_stand_in, "нет").await).0,
            Code::NotFound
        );
        assert_eq!(code(s.send(s.pupil, with_stand_in, "нет").await), read_only());
        assert_eq!(code(s.send(s.pupil, of_class, "нет").await), read_only());
        s.read(stand_in, of_class).await.unwrap();
        let refused = code(s.transfer(s.head, of_class, stand_in, None).await);
        assert_eq!(refused, (Code::PermissionDenied, "NOT_CLEARED".to_owned()));
        s.transfer(s.head, of_class, s.subject_teacher, None)
            .await
            .unwrap();
        s.send(stand_in, of_class, "можно").await.unwrap();
    }
);

// The one who removes another participant may leave by that too, and the repetition shows it.
// Covers: F14 refused
on_both!(
    removal_succeeds_when_repeated_by_one_who_left_with_it,
    |database| async move {
        let s = School::open(database).await;
        let tutor = s.tutor_of(&[s.pupil, s.classmate]).await;
        let named = [s.pupil, s.classmate, tutor];
        let chat = s.custom(s.class_teacher, &named).await.unwrap();
        s.transfer(s.class_teacher, chat, tutor, None).await.unwrap();
        s.remove(s.class_teacher, chat, &[s.class_teacher]).await.unwrap();
        // A tutor opens no personal chats, and is not alone with one pupil.
        let request = s.remove_request(chat, s.classmate);
        let first = s.remove_with(tutor, &request).await.unwrap().chat.unwrap();
        assert!(first.left_seq.is_some());
        let again = s.remove_with(tutor, &request).await.unwrap().chat.unwrap();
        assert_eq!(first, again);
        assert_eq!(code(s.send(s.pupil, chat, "нет").await), read_only());
    }
);

// A pupil who moves to another class leaves the chat of those who stay; the badge of another adult in it
// supervises nobody.
// Covers: F14 refused, F15 refused
on_both!(
    pupil_leaves_the_named_chat_with_the_class,
    |database| async move {
        let s = School::open(database).await;
        let father = s.badge_holder(&[Role::Parent]).await;
        s.relate(father, s.classmate).await;
        let named = [s.pupil, s.classmate, father];
        let chat = s.custom(s.class_teacher, &named).await.unwrap();
        let moved = enrolled(s.fixture.env.id(), s.pupil, s.other_class);
        s.apply(vec![unenrolled(s.enrollment), moved]).await;
        assert_eq!(code(s.send(s.pupil, chat, "нет").await).0, Code::NotFound);
        s.send(s.classmate, chat, "можно").await.unwrap();
        s.send(father, chat, "можно").await.unwrap();
        s.apply(vec![verified(s.class_teacher, false)]).await;
        assert_eq!(code(s.send(s.classmate, chat, "нет").await), read_only());
    }
);

// Covers: F14 refused, F17 refused
on_both!(archived_unit_is_no_ground_in_named_chats, |database| async move {
    let s = School::open(database).await;
    let named = [s.pupil, s.classmate, s.subject_teacher];
    let chat = s.custom(s.class_teacher, &named).await.unwrap();
    let archived = Org::UnitArchived(orgs::UnitArchived {
        unit_id: s.class.to_string(),
        ..Default::default()
    });
    let token = s.fixture.org_registry(s.org, vec![archived]).await;
    s.wait_for(&token).await;
    for teacher in [s.class_teacher, s.subject_teacher] {
        assert_eq!(code(s.send(teacher, chat, "нет").await).0, Code::NotFound);
    }
    assert_eq!(code(s.send(s.pupil, chat, "нет").await), read_only());
});
