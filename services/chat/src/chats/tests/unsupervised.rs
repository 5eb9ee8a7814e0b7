//! F15: pupils are not left alone in a chat.
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_testkit::on_both;
use tonic::Code;

use crate::tests::school::*;

pub(super) fn read_only() -> (Code, String) {
    (Code::FailedPrecondition, "CHAT_READ_ONLY".to_owned())
}

pub(super) fn verified(teacher: MemberId, verified: bool) -> Member {
    Member::MemberChanged(members::MemberChanged {
        member_id: teacher.to_string(),
        state: MemberState::Active.into(),
        roles: vec![Role::Teacher.into()],
        teacher_verified: verified,
        ..Default::default()
    })
}

/// The chats that the administration is to supply with an adult.
async fn listed(school: &School, caller: MemberId) -> Result<Vec<ChatId>, tonic::Status> {
    let request = pb::ListUnsupervisedChatsRequest {
        org_id: school.org.to_string(),
        ..Default::default()
    };
    let request = school.fixture.request(school.org, caller, request);
    let listed = school
        .chats()
        .list_unsupervised_chats(request)
        .await?
        .into_inner();
    Ok(listed
        .chats
        .iter()
        .map(|chat| chat.chat_id.parse().unwrap())
        .collect())
}

// Case 52
// Covers: F15 allowed, F15 refused
on_both!(
    class_without_a_cleared_adult_is_read_only,
    |database| async move {
        let s = School::open(database).await;
        let class = s.chat(s.pupil, ClassPupils).await;
        let other = s.chat(s.other_pupil, ClassPupils).await;
        s.send(s.pupil, class, "до").await.unwrap();
        // The other class never had a teacher.
        assert_eq!(code(s.send(s.other_pupil, other, "нет").await), read_only());
        assert_eq!(listed(&s, s.head).await.unwrap(), [other]);

        s.apply(vec![verified(s.class_teacher, false)]).await;
        s.send(s.pupil, class, "ещё один учитель").await.unwrap();
        let earlier = new_uuid(&s.fixture);
        let sent = s.send_as(s.pupil, class, earlier, "повтор").await.unwrap();
        s.apply(vec![verified(s.subject_teacher, false)]).await;
        for pupil in [s.pupil, s.classmate] {
            assert_eq!(code(s.send(pupil, class, "нет").await), read_only());
        }
        let repeated = s.send_as(s.pupil, class, earlier, "повтор").await.unwrap();
        assert_eq!(repeated.seq, sent.seq);
        let seen = s.get(s.pupil, class).await.unwrap();
        assert_eq!((seen.may_post, seen.unsupervised), (false, true));
        // The log stays readable.
        assert!(!s.read(s.pupil, class).await.unwrap().is_empty());
        let mut expected = [class, other];
        expected.sort();
        assert_eq!(listed(&s, s.head).await.unwrap(), expected);
        for caller in [s.pupil, s.parent, s.class_teacher, s.subject_teacher] {
            assert_eq!(code(listed(&s, caller).await).0, Code::PermissionDenied);
        }

        s.apply(vec![verified(s.subject_teacher, true)]).await;
        s.send(s.pupil, class, "после").await.unwrap();
        assert_eq!(listed(&s, s.head).await.unwrap(), [other]);
        let seen = s.get(s.pupil, class).await.unwrap();
        assert_eq!((seen.may_post, seen.unsupervised), (true, false));
    }
);

// Covers: F15 allowed, F15 refused
on_both!(
    named_chat_without_a_cleared_adult_is_read_only,
    |database| async move {
        let s = School::open(database).await;
        let named = [s.pupil, s.classmate, s.subject_teacher];
        let chat = s.custom(s.class_teacher, &named).await.unwrap();
        let deputy = Some(s.subject_teacher);
        s.transfer(s.class_teacher, chat, s.class_teacher, deputy)
            .await
            .unwrap();
        s.apply(vec![verified(s.class_teacher, false)]).await;
        s.send(s.pupil, chat, "с учителем").await.unwrap();
        s.apply(vec![verified(s.subject_teacher, false)]).await;
        assert_eq!(code(s.send(s.pupil, chat, "нет").await), read_only());
        assert!(listed(&s, s.head).await.unwrap().contains(&chat));
        // A chat without pupils needs nobody.
        let staff = s.custom(s.head, &[s.class_teacher, s.unverified]).await.unwrap();
        s.send(s.unverified, staff, "можно").await.unwrap();
        // Two pupils in a personal chat are no room.
        let direct = s.direct(s.pupil, s.classmate).await.unwrap();
        s.send(s.pupil, direct.id.parse().unwrap(), "можно")
            .await
            .unwrap();
    }
);

// Covers: F15 allowed
on_both!(holder_of_a_duty_may_be_responsible, |database| async move {
    let s = School::open(database).await;
    let class = s.chat(s.pupil, ClassPupils).await;
    s.apply(vec![
        verified(s.class_teacher, false),
        verified(s.subject_teacher, false),
    ])
    .await;
    assert_eq!(code(s.send(s.pupil, class, "нет").await), read_only());
    let psychologist = s.fixture.env.id::<MemberId>();
    let duty = members::DutyAssigned {
        duty_id: s.fixture.env.id::<parta_ids::DutyId>().to_string(),
        member_id: psychologist.to_string(),
        kind: members::DutyKind::Psychologist.into(),
        scope: Some(members::DutyScope {
            scope: Some(members::duty_scope::Scope::UnitId(s.class.to_string())),
        }),
        begin_time: None,
    };
    s.apply(vec![
        admitted(psychologist, Role::Staff, false),
        Member::DutyAssigned(duty),
    ])
    .await;
    s.send(s.pupil, class, "можно").await.unwrap();
});

// Covers: F14 allowed, F14 refused, F15 refused, F17 refused
on_both!(
    administration_names_an_adult_where_pupils_are_alone,
    |database| async move {
        let s = School::open(database).await;
        let chat = s.custom(s.class_teacher, &[s.pupil, s.classmate]).await.unwrap();
        s.apply(vec![verified(s.class_teacher, false)]).await;
        assert_eq!(code(s.send(s.pupil, chat, "нет").await), read_only());
        let outsider = code(s.add(s.subject_teacher, chat, &[s.subject_teacher]).await);
        assert_eq!(outsider.0, Code::NotFound);
        // A member of the staff without clearance does not end the silence.
        let refused = code(s.transfer(s.head, chat, s.unverified, None).await);
        assert_eq!(refused.1, "MEMBER_NOT_REACHABLE");
        // Nor does another adult for whom nobody is responsible, or one more pupil, whom a verified teacher
        // of the administration may name elsewhere.
        let teaching_head = s.fixture.env.id::<MemberId>();
        s.apply(vec![
            admitted_in(teaching_head, &[Role::Head, Role::Teacher], true),
            s.assigned(teaching_head, s.other_class, AssignmentKind::SubjectTeacher),
        ])
        .await;
        let another = s.add(teaching_head, chat, &[s.other_pupil]).await;
        assert_eq!(code(another), read_only());
        let another = s.add(s.head, chat, &[s.subject_teacher]).await;
        assert_eq!(code(another), read_only());
        s.transfer(s.head, chat, s.subject_teacher, None).await.unwrap();
        s.send(s.pupil, chat, "можно").await.unwrap();
        // The administration does not read it, and names and removes others.
        assert_eq!(code(s.read(s.head, chat).await).0, Code::NotFound);
        s.apply(vec![verified(s.class_teacher, true)]).await;
        s.add(s.head, chat, &[s.class_teacher]).await.unwrap();
        s.remove(s.head, chat, &[s.class_teacher]).await.unwrap();
        assert_eq!(code(s.send(s.class_teacher, chat, "нет").await).0, Code::NotFound);
    }
);

// Covers: F15 refused
on_both!(duty_toward_one_pupil_supervises_no_class, |database| async move {
    let s = School::open(database).await;
    let tutor = s.fixture.env.id::<MemberId>();
    let pupils = members::DutyPupils {
        member_ids: vec![s.pupil.to_string()],
    };
    let duty = members::DutyAssigned {
        duty_id: s.fixture.env.id::<parta_ids::DutyId>().to_string(),
        member_id: tutor.to_string(),
        kind: members::DutyKind::Tutor.into(),
        scope: Some(members::DutyScope {
            scope: Some(members::duty_scope::Scope::Pupils(pupils)),
        }),
        begin_time: None,
    };
    s.apply(vec![
        admitted(tutor, Role::Staff, false),
        Member::DutyAssigned(duty),
        verified(s.class_teacher, false),
        verified(s.subject_teacher, false),
    ])
    .await;
    let class = s.chat(s.pupil, ClassPupils).await;
    assert_eq!(code(s.send(s.pupil, class, "нет").await), read_only());
});
