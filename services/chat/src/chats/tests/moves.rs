//! F21: comings and goings of others, as ListEntries and ListParticipants show them.
use parta_ids::MemberId;
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_testkit::on_both;

use crate::tests::school::*;

/// Everybody whose coming or going the member reads in the chat, each once, sorted.
async fn movers(school: &School, reader: MemberId, chat: parta_ids::ChatId) -> Vec<String> {
    let log = school.read(reader, chat).await.unwrap();
    assert!(
        log.iter().map(|entry| entry.seq).eq(1..=log.len() as i64),
        "a hidden entry keeps its sequence number"
    );
    let mut movers: Vec<_> = log.iter().filter_map(mover).map(|(id, _)| id).collect();
    movers.sort();
    movers.dedup();
    movers
}

fn ids(members: &[MemberId]) -> Vec<String> {
    let mut ids: Vec<_> = members.iter().map(ToString::to_string).collect();
    ids.sort();
    ids
}

// Case 22
// Covers: F21 refused, R33 refused
on_both!(
    school_channel_names_nobody_who_came_or_went,
    |database| async move {
        let s = School::open(database).await;
        let channel = s.chat(s.parent, SchoolChannel).await;
        s.send(s.head, channel, "всем").await.unwrap();
        let left = members::MemberChanged {
            member_id: s.other_pupil.to_string(),
            state: MemberState::Left.into(),
            ..Default::default()
        };
        s.apply(vec![Member::MemberChanged(left)]).await;
        for reader in [s.parent, s.pupil, s.subject_teacher, s.head] {
            assert_eq!(movers(&s, reader, channel).await, ids(&[reader]));
        }
    }
);

// Covers: F21 allowed, F21 refused
on_both!(
    families_see_only_adults_come_to_the_class,
    |database| async move {
        let s = School::open(database).await;
        let class = s.chat(s.pupil, ClassPupils).await;
        let joined = s.fixture.env.id::<MemberId>();
        let enrollment = s.fixture.env.id();
        s.apply(vec![
            admitted(joined, Role::Pupil, false),
            enrolled(enrollment, joined, s.class),
        ])
        .await;
        s.apply(vec![unenrolled(enrollment)]).await;
        assert_eq!(
            movers(&s, s.pupil, class).await,
            ids(&[s.class_teacher, s.subject_teacher, s.pupil])
        );
        let all = [s.class_teacher, s.subject_teacher, s.pupil, s.classmate, joined];
        assert_eq!(movers(&s, s.class_teacher, class).await, ids(&all));
        let seen = s.read(s.class_teacher, class).await.unwrap();
        assert_eq!(mover(seen.last().unwrap()), Some((joined.to_string(), false)));
        let hidden = s.read(s.pupil, class).await.unwrap();
        let hidden = hidden.last().unwrap();
        assert_eq!(hidden.content, Some(pb::entry::Content::Hidden(pb::Hidden {})));
        assert_eq!(hidden.create_time, None);

        // The parents' chat has no pupils: its readers see their own coming only.
        let parents = s.chat(s.parent, ClassParents).await;
        assert_eq!(movers(&s, s.parent, parents).await, ids(&[s.parent]));
        assert_eq!(
            movers(&s, s.class_teacher, parents).await,
            ids(&[s.parent, s.class_teacher])
        );
    }
);

// Covers: F21 allowed, F21 refused
on_both!(families_see_nobody_leave_a_named_chat, |database| async move {
    let s = School::open(database).await;
    let named = [s.pupil, s.classmate, s.subject_teacher];
    let chat = s.custom(s.class_teacher, &named).await.unwrap();
    s.remove(s.class_teacher, chat, &[s.subject_teacher])
        .await
        .unwrap();
    s.remove(s.classmate, chat, &[s.classmate]).await.unwrap();
    let goings = async |reader| {
        let log = s.read(reader, chat).await.unwrap();
        let goings = log.iter().filter_map(mover).filter(|(_, came)| !came);
        goings.map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert!(goings(s.pupil).await.is_empty());
    assert_eq!(
        goings(s.class_teacher).await,
        [s.subject_teacher.to_string(), s.classmate.to_string()]
    );
    // The person who left sees that.
    assert_eq!(goings(s.classmate).await, [s.classmate.to_string()]);
    assert_eq!(
        movers(&s, s.pupil, chat).await,
        ids(&[s.pupil, s.class_teacher, s.subject_teacher])
    );
});

// Covers: F21 refused, R83 refused
on_both!(coming_of_a_protected_adult_is_hidden, |database| async move {
    let s = School::open(database).await;
    let chat = s
        .custom(s.class_teacher, &[s.parent, s.pupil, s.classmate])
        .await
        .unwrap();
    let seen = |id: &MemberId, movers: &[String]| movers.contains(&id.to_string());
    assert!(seen(&s.parent, &movers(&s, s.classmate, chat).await));
    let protected = Member::FamilyProtectionChanged(members::FamilyProtectionChanged {
        child_id: s.pupil.to_string(),
        protected: true,
    });
    s.apply(vec![protected]).await;
    assert!(!seen(&s.parent, &movers(&s, s.classmate, chat).await));
    assert!(seen(&s.parent, &movers(&s, s.class_teacher, chat).await));
    assert!(seen(&s.parent, &movers(&s, s.parent, chat).await));
});

// Covers: F21 allowed, F21 refused
on_both!(families_do_not_learn_when_others_came, |database| async move {
    let s = School::open(database).await;
    let class = s.chat(s.pupil, ClassPupils).await;
    let came = async |reader: MemberId| {
        let request = pb::ListParticipantsRequest {
            org_id: s.org.to_string(),
            chat_id: class.to_string(),
            ..Default::default()
        };
        let request = s.fixture.request(s.org, reader, request);
        let listed = s.chats().list_participants(request).await.unwrap().into_inner();
        let known = listed.participants.into_iter().filter(|p| p.joined_seq > 0);
        known.map(|p| p.member_id).collect::<Vec<_>>()
    };
    assert_eq!(came(s.pupil).await, [s.pupil.to_string()]);
    assert_eq!(came(s.class_teacher).await.len(), 4);
});
