//! R33, F25: the chats and channels of the organization.
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_testkit::on_both;
use tonic::Code;

use crate::tests::school::*;

/// The members who read a channel, and those of them who publish in it.
struct Channel {
    kind: pb::ChatKind,
    readers: Vec<MemberId>,
    publishers: Vec<MemberId>,
}

impl School {
    async fn lists_participants(&self, member: MemberId, chat: ChatId) -> Result<usize, tonic::Status> {
        let request = pb::ListParticipantsRequest {
            org_id: self.org.to_string(),
            chat_id: chat.to_string(),
            ..Default::default()
        };
        let request = self.fixture.request(self.org, member, request);
        let listed = self.chats().list_participants(request).await?;
        Ok(listed.into_inner().participants.len())
    }
}

// Deputies publish in no channel, and everybody writes in «Учительская» who may be there.
// Covers: R33 allowed, R33 refused, F25 allowed, F25 refused
on_both!(roles_read_and_publish_as_the_chat_says, |database| async move {
    let s = School::open(database).await;
    let [administrator, deputy, nurse] = [0; 3].map(|_| s.fixture.env.id::<MemberId>());
    s.apply(vec![
        admitted(administrator, Role::Administrator, false),
        admitted(deputy, Role::Deputy, false),
        admitted(nurse, Role::Staff, false),
    ])
    .await;
    let (leaders, teachers) = (
        [administrator, s.head],
        [s.class_teacher, s.subject_teacher, s.unverified],
    );
    let administration = [administrator, s.head, deputy];
    let pupils = [s.pupil, s.classmate, s.other_pupil];
    let everybody = [&administration[..], &teachers, &[nurse], &pupils, &[s.parent]].concat();
    let channels = [
        Channel {
            kind: StaffChannel,
            readers: [&administration[..], &teachers, &[nurse]].concat(),
            publishers: leaders.to_vec(),
        },
        Channel {
            kind: StaffRoom,
            readers: [&administration[..], &teachers].concat(),
            publishers: [&administration[..], &teachers].concat(),
        },
        Channel {
            kind: ParentsChannel,
            readers: [&administration[..], &[s.parent]].concat(),
            publishers: leaders.to_vec(),
        },
        Channel {
            kind: PupilsChannel,
            readers: [&administration[..], &pupils].concat(),
            publishers: leaders.to_vec(),
        },
        Channel {
            kind: SchoolChannel,
            readers: everybody.iter().copied().filter(|m| *m != s.unverified).collect(),
            publishers: leaders.to_vec(),
        },
    ];
    for channel in channels {
        let chat = s.chat(s.head, channel.kind).await;
        for member in &everybody {
            let sent = s.send(*member, chat, "объявление").await;
            if channel.publishers.contains(member) {
                sent.unwrap();
            } else if channel.readers.contains(member) {
                assert_eq!(code(sent).0, Code::PermissionDenied, "{:?}", channel.kind);
                s.read(*member, chat).await.unwrap();
            } else {
                assert_eq!(code(sent).0, Code::NotFound, "{:?}", channel.kind);
                assert_eq!(code(s.read(*member, chat).await).0, Code::NotFound);
            }
        }
    }
});

// Only the administration lists the families of the organization (F3). A class teacher who is a parent too
// reads «Родителям» and lists nobody there.
// Covers: F25 allowed, F25 refused, F3 refused
on_both!(families_of_a_channel_are_not_listed, |database| async move {
    let s = School::open(database).await;
    let roles = [Role::Teacher, Role::Parent];
    let both = s.fixture.env.id::<MemberId>();
    let child = Member::GuardianshipEstablished(members::GuardianshipEstablished {
        guardianship_id: s.fixture.env.id::<parta_ids::GuardianshipId>().to_string(),
        guardian_id: both.to_string(),
        child_id: s.pupil.to_string(),
        confirmed: true,
        kind: members::GuardianshipKind::Parent.into(),
        unit_rooms_only: false,
        begin_time: None,
    });
    s.apply(vec![admitted_in(both, &roles, true), child]).await;
    for (kind, reader) in [
        (ParentsChannel, both),
        (ParentsChannel, s.parent),
        (PupilsChannel, s.pupil),
        (SchoolChannel, s.class_teacher),
    ] {
        let chat = s.chat(reader, kind).await;
        let refused = code(s.lists_participants(reader, chat).await);
        assert_eq!(refused.0, Code::PermissionDenied, "{kind:?}");
        assert!(s.lists_participants(s.head, chat).await.unwrap() > 1);
    }
    let staff_room = s.chat(s.unverified, StaffRoom).await;
    s.lists_participants(s.unverified, staff_room).await.unwrap();
});

// A parent is in «Родителям» by a confirmed relation, and a pupil in «Ученикам» by the role.
// Covers: F25 refused
on_both!(family_leaves_its_channel_with_its_ground, |database| async move {
    let s = School::open(database).await;
    let parents = s.chat(s.parent, ParentsChannel).await;
    let pupils = s.chat(s.pupil, PupilsChannel).await;
    let left = Member::MemberChanged(members::MemberChanged {
        member_id: s.pupil.to_string(),
        state: MemberState::Left.into(),
        roles: vec![Role::Pupil.into()],
        ..Default::default()
    });
    let ended = Member::GuardianshipEnded(members::GuardianshipEnded {
        guardianship_id: s.guardianship.to_string(),
    });
    s.apply(vec![ended, left]).await;
    assert_eq!(code(s.read(s.parent, parents).await).0, Code::NotFound);
    assert_eq!(code(s.read(s.pupil, pupils).await).0, Code::NotFound);
    let seen = s.read(s.classmate, pupils).await.unwrap();
    let is_hidden = |entry: &pb::Entry| matches!(entry.content, Some(pb::entry::Content::Hidden(_)));
    let others = seen.iter().filter(|entry| !is_hidden(entry)).count();
    assert!(others <= 1, "only the joining of the reader is shown: {seen:?}");
});
