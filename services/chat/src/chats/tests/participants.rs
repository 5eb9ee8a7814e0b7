//! R34, R37, R38: personal chats and custom chats.
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_proto_membership::v1::{self as members, Role, membership_event::Payload as Member};
use parta_testkit::on_both;
use tonic::Code;

use crate::tests::school::*;

impl School {
    pub(super) async fn direct(&self, one: MemberId, other: MemberId) -> Result<pb::Chat, tonic::Status> {
        let request = pb::CreateDirectChatRequest {
            request_id: new_uuid(&self.fixture).to_string(),
            org_id: self.org.to_string(),
            member_id: other.to_string(),
        };
        let request = self.fixture.request(self.org, one, request);
        Ok(self
            .chats()
            .create_direct_chat(request)
            .await?
            .into_inner()
            .chat
            .unwrap())
    }

    pub(super) async fn custom(&self, maker: MemberId, named: &[MemberId]) -> Result<ChatId, tonic::Status> {
        let request = pb::CreateChatRequest {
            request_id: new_uuid(&self.fixture).to_string(),
            org_id: self.org.to_string(),
            title: "Поход".into(),
            member_ids: named.iter().map(ToString::to_string).collect(),
        };
        let request = self.fixture.request(self.org, maker, request);
        Ok(self
            .chats()
            .create_chat(request)
            .await?
            .into_inner()
            .chat
            .unwrap()
            .id
            .parse()
            .unwrap())
    }

    pub(super) async fn get(&self, member: MemberId, chat: ChatId) -> Result<pb::Chat, tonic::Status> {
        let request = pb::GetChatRequest {
            org_id: self.org.to_string(),
            chat_id: chat.to_string(),
        };
        let request = self.fixture.request(self.org, member, request);
        Ok(self.chats().get_chat(request).await?.into_inner().chat.unwrap())
    }

    pub(super) async fn add(
        &self,
        who: MemberId,
        chat: ChatId,
        named: &[MemberId],
    ) -> Result<(), tonic::Status> {
        let request = pb::AddParticipantsRequest {
            request_id: new_uuid(&self.fixture).to_string(),
            org_id: self.org.to_string(),
            chat_id: chat.to_string(),
            member_ids: named.iter().map(ToString::to_string).collect(),
        };
        self.chats()
            .add_participants(self.fixture.request(self.org, who, request))
            .await
            .map(|_| ())
    }

    pub(super) async fn remove(
        &self,
        who: MemberId,
        chat: ChatId,
        named: &[MemberId],
    ) -> Result<(), tonic::Status> {
        let request = pb::RemoveParticipantsRequest {
            request_id: new_uuid(&self.fixture).to_string(),
            org_id: self.org.to_string(),
            chat_id: chat.to_string(),
            member_ids: named.iter().map(ToString::to_string).collect(),
        };
        self.chats()
            .remove_participants(self.fixture.request(self.org, who, request))
            .await
            .map(|_| ())
    }
}

// Covers: R37 allowed, R37 refused
on_both!(personal_chat_follows_the_talk_policy, |database| async move {
    let s = School::open(database).await;
    let allowed = [
        (s.pupil, s.classmate),
        (s.pupil, s.subject_teacher),
        (s.class_teacher, s.parent),
        (s.parent, s.pupil),
        (s.unverified, s.head),
        (s.class_teacher, s.unverified),
    ];
    for (one, other) in allowed {
        let chat = s.direct(one, other).await.unwrap();
        assert_eq!(
            (chat.kind(), chat.peer_id.clone(), chat.may_post),
            (Direct, other.to_string(), true)
        );
        let back = s.direct(other, one).await.unwrap();
        assert_eq!(chat.id, back.id, "one chat per pair");
    }
    let refused = [
        (s.pupil, s.other_pupil),
        (s.parent, s.classmate),
        (s.unverified, s.pupil),
        (s.pupil, s.unverified),
        (s.unverified, s.parent),
        (s.subject_teacher, s.other_pupil),
        (s.pupil, s.pupil),
    ];
    for (one, other) in refused {
        let refused = code(s.direct(one, other).await);
        assert_eq!(
            refused,
            (Code::PermissionDenied, "MEMBER_NOT_REACHABLE".into()),
            "{one} {other}"
        );
    }
    assert_eq!(
        code(s.direct(s.pupil, s.fixture.env.id()).await).0,
        Code::NotFound
    );
});

// Covers: R26 allowed, R26 refused, R37 allowed, R37 refused
on_both!(
    personal_chat_is_read_only_when_the_relation_ends,
    |database| async move {
        let s = School::open(database).await;
        let chat: ChatId = s.direct(s.pupil, s.classmate).await.unwrap().id.parse().unwrap();
        s.send(s.pupil, chat, "привет").await.unwrap();
        s.apply(vec![unenrolled(s.enrollment)]).await;
        assert_eq!(code(s.send(s.pupil, chat, "нет").await).0, Code::PermissionDenied);
        assert_eq!(
            code(s.send(s.classmate, chat, "нет").await).0,
            Code::PermissionDenied
        );
        s.read(s.pupil, chat).await.unwrap();
        s.apply(vec![enrolled(s.fixture.env.id(), s.pupil, s.class)])
            .await;
        s.send(s.pupil, chat, "снова").await.unwrap();
    }
);

// Covers: R34 allowed, R34 refused, R38 allowed, R38 refused, R35 allowed
on_both!(
    custom_chat_is_created_and_changed_only_by_staff,
    |database| async move {
        let s = School::open(database).await;
        let chat = s.custom(s.class_teacher, &[s.pupil, s.parent]).await.unwrap();
        s.send(s.parent, chat, "мы идём").await.unwrap();
        // The administration is in a chat with pupils or parents only with clearance and a ground.
        let deputy: MemberId = s.fixture.env.id();
        let roles = [Role::Teacher, Role::Deputy];
        s.apply(vec![admitted_in(deputy, &roles, true)]).await;
        for maker in [s.head, deputy] {
            for named in [&[s.other_pupil][..], &[s.parent], &[s.class_teacher, s.pupil]] {
                let refused = code(s.custom(maker, named).await);
                assert_eq!(refused.1, "MEMBER_NOT_REACHABLE");
            }
        }
        s.apply(vec![s.assigned(deputy, s.class, AssignmentKind::SubjectTeacher)])
            .await;
        s.custom(deputy, &[s.classmate, s.parent, s.pupil]).await.unwrap();
        for family in [s.pupil, s.parent] {
            assert_eq!(
                code(s.custom(family, &[s.class_teacher]).await).0,
                Code::PermissionDenied
            );
            assert_eq!(
                code(s.add(family, chat, &[s.classmate]).await).0,
                Code::PermissionDenied
            );
        }
        assert_eq!(
            code(s.custom(s.subject_teacher, &[s.other_pupil]).await).1,
            "MEMBER_NOT_REACHABLE"
        );
        assert_eq!(
            code(s.custom(s.unverified, &[s.pupil]).await).1,
            "MEMBER_NOT_REACHABLE"
        );
        assert_eq!(
            code(s.add(s.class_teacher, chat, &[s.unverified]).await).1,
            "MEMBER_NOT_REACHABLE"
        );
        assert_eq!(
            code(s.custom(s.class_teacher, &[s.fixture.env.id()]).await).0,
            Code::NotFound
        );
        assert_eq!(
            code(s.custom(s.class_teacher, &[]).await).0,
            Code::InvalidArgument
        );
        // A member who does not participate gets NOT_FOUND.
        assert_eq!(
            code(s.add(s.subject_teacher, chat, &[s.classmate]).await).0,
            Code::NotFound
        );
        s.add(s.class_teacher, chat, &[s.classmate]).await.unwrap();
        s.send(s.classmate, chat, "и я").await.unwrap();
        let class = s.chat(s.class_teacher, ClassPupils).await;
        let refused = code(s.add(s.class_teacher, class, &[s.parent]).await);
        assert_eq!(refused, (Code::FailedPrecondition, "PARTICIPANTS_FIXED".into()));
    }
);

// Invariant 5
// Covers: R38 allowed, R38 refused
on_both!(removal_takes_effect_at_its_entry, |database| async move {
    let s = School::open(database).await;
    let chat = s.custom(s.class_teacher, &[s.pupil, s.classmate]).await.unwrap();
    s.send(s.pupil, chat, "до").await.unwrap();
    assert_eq!(
        code(s.remove(s.pupil, chat, &[s.classmate]).await).0,
        Code::PermissionDenied
    );
    s.remove(s.class_teacher, chat, &[s.pupil]).await.unwrap();
    s.send(s.classmate, chat, "после").await.unwrap();
    assert_eq!(code(s.send(s.pupil, chat, "нет").await).0, Code::NotFound);
    // A former participant of a custom chat may read it up to their own leaving.
    let log = s.read(s.pupil, chat).await.unwrap();
    let left = pb::entry::Content::Leaving(pb::Leaving {
        member_id: s.pupil.to_string(),
    });
    assert_eq!(log.last().unwrap().content, Some(left));
    assert!(log.iter().all(|e| text(e) != Some("после")));
    assert!(s.list(s.pupil).await.iter().all(|c| c.id != chat.to_string()));
    // Every participant may leave.
    s.remove(s.classmate, chat, &[s.classmate]).await.unwrap();
    assert_eq!(code(s.send(s.classmate, chat, "нет").await).0, Code::NotFound);
});

// Covers: R22 allowed, R22 refused
on_both!(
    unverified_teacher_leaves_chats_with_pupils,
    |database| async move {
        let s = School::open(database).await;
        let with_pupils = s
            .custom(s.class_teacher, &[s.pupil, s.subject_teacher])
            .await
            .unwrap();
        let of_staff = s.custom(s.class_teacher, &[s.subject_teacher]).await.unwrap();
        let direct: ChatId = s
            .direct(s.subject_teacher, s.pupil)
            .await
            .unwrap()
            .id
            .parse()
            .unwrap();
        let withdrawn = Member::MemberChanged(members::MemberChanged {
            member_id: s.subject_teacher.to_string(),
            state: MemberState::Active.into(),
            roles: vec![Role::Teacher.into()],
            teacher_verified: false,
            ..Default::default()
        });
        s.apply(vec![withdrawn]).await;
        assert_eq!(
            code(s.send(s.subject_teacher, with_pupils, "нет").await).0,
            Code::NotFound
        );
        assert_eq!(
            code(s.send(s.subject_teacher, direct, "нет").await).0,
            Code::PermissionDenied
        );
        assert_eq!(
            code(s.send(s.pupil, direct, "нет").await).0,
            Code::PermissionDenied
        );
        s.send(s.subject_teacher, of_staff, "да").await.unwrap();
    }
);

// Covers: R26 refused
on_both!(
    member_who_left_the_organization_is_in_no_chat,
    |database| async move {
        let s = School::open(database).await;
        let chat = s.custom(s.class_teacher, &[s.pupil]).await.unwrap();
        s.direct(s.pupil, s.classmate).await.unwrap();
        let class = s.chat(s.pupil, ClassPupils).await;
        let left = Member::MemberChanged(members::MemberChanged {
            member_id: s.pupil.to_string(),
            state: MemberState::Left.into(),
            roles: vec![Role::Pupil.into()],
            teacher_verified: false,
            ..Default::default()
        });
        s.apply(vec![left]).await;
        for chat in [chat, class] {
            assert_eq!(code(s.send(s.pupil, chat, "нет").await).0, Code::NotFound);
            assert_ne!(code(s.read(s.pupil, chat).await).0, Code::Ok);
        }
        let request = pb::ListParticipantsRequest {
            org_id: s.org.to_string(),
            chat_id: chat.to_string(),
            ..Default::default()
        };
        let request = s.fixture.request(s.org, s.class_teacher, request);
        let chat = s
            .chats()
            .list_participants(request)
            .await
            .unwrap()
            .into_inner()
            .participants;
        assert_eq!(
            chat.iter().map(|p| p.member_id.clone()).collect::<Vec<_>>(),
            [s.class_teacher.to_string()]
        );
    }
);

on_both!(
    /// Covers: R37 allowed
    personal_chat_is_one_when_both_create_it_at_once,
    |database| async move {
        let s = School::open(database).await;
        let people = [s.head, s.class_teacher, s.subject_teacher, s.pupil, s.classmate, s.parent];
        let mut created = 0;
        for (n, one) in people.into_iter().enumerate() {
            for other in people.into_iter().skip(n + 1) {
                match tokio::join!(s.direct(one, other), s.direct(other, one)) {
                    (Ok(chat), Ok(same)) => {
                        assert_eq!(chat.id, same.id);
                        created += 1;
                    }
                    (Err(one), Err(other)) => {
                        assert_eq!(code::<()>(Err(one)).1, "MEMBER_NOT_REACHABLE");
                        assert_eq!(code::<()>(Err(other)).1, "MEMBER_NOT_REACHABLE");
                    }
                    (one, other) => panic!("one succeeded only: {one:?}, {other:?}"),
                }
            }
        }
        assert!(created >= 5, "{created} pairs may talk");
    }
);
