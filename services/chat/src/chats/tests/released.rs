//! A record that staff released from an account: the next person who is the member reads nothing of the
//! personal and named chats of the earlier one (R71, F10).
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1::ChatKind::*;
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_testkit::on_both;
use tonic::Code;

use crate::tests::school::*;

/// The record of a pupil that was released once.
fn released(member: MemberId, state: MemberState) -> Member {
    Member::MemberChanged(members::MemberChanged {
        member_id: member.to_string(),
        state: state.into(),
        roles: vec![Role::Pupil.into()],
        release_count: 1,
        ..Default::default()
    })
}

impl School {
    /// The next person has an empty list of personal and named chats, and opens another personal chat.
    async fn check_next_person(&self, earlier: ChatId, named: ChatId) {
        let (pupil, teacher) = (self.pupil, self.class_teacher);
        let kinds = self.kinds(pupil).await;
        let kinds: Vec<_> = kinds.into_iter().map(|(kind, _)| kind).collect();
        assert!(kinds.contains(&ClassPupils), "{kinds:?}");
        assert!(!kinds.contains(&Direct) && !kinds.contains(&Custom), "{kinds:?}");
        for chat in [earlier, named] {
            assert_eq!(code(self.read(pupil, chat).await).0, Code::NotFound);
        }
        // The teacher reads the earlier chat, knows with whom it was, and can no longer write in it.
        let listed = self.list(teacher).await;
        let kept = listed.iter().find(|chat| chat.id == earlier.to_string()).unwrap();
        assert_eq!(
            (kept.peer_id.as_str(), kept.may_post),
            (pupil.to_string().as_str(), false)
        );
        assert!(!self.read(teacher, earlier).await.unwrap().is_empty());
        let second = self.direct(teacher, pupil).await.unwrap();
        assert_ne!(second.id, earlier.to_string());
        assert_eq!(self.direct(pupil, teacher).await.unwrap().id, second.id);
        let second: ChatId = second.id.parse().unwrap();
        self.send(teacher, second, "Здравствуй").await.unwrap();
        let read = self.read(pupil, second).await.unwrap();
        assert!(!format!("{read:?}").contains("тайна"));
        assert!(format!("{read:?}").contains("Здравствуй"));
        assert_eq!(code(self.read(pupil, earlier).await).0, Code::NotFound);
    }

    async fn chats_of_pupil(&self) -> (ChatId, ChatId) {
        let (pupil, teacher) = (self.pupil, self.class_teacher);
        let direct = self.direct(pupil, teacher).await.unwrap();
        let direct: ChatId = direct.id.parse().unwrap();
        self.send(pupil, direct, "тайна").await.unwrap();
        let named = self.custom(teacher, &[pupil]).await.unwrap();
        self.send(teacher, named, "тайна").await.unwrap();
        (direct, named)
    }
}

// Covers: R71 allowed, R71 refused, F10 refused
on_both!(next_person_reads_no_chats_of_the_earlier, |database| async move {
    let school = School::open(database).await;
    let (direct, named) = school.chats_of_pupil().await;
    let expected = released(school.pupil, MemberState::Expected);
    school.apply(vec![expected]).await;
    school
        .apply(vec![released(school.pupil, MemberState::Active)])
        .await;
    school.check_next_person(direct, named).await;
    // Another event of the member changes nothing more.
    let (pupil, teacher) = (school.pupil, school.class_teacher);
    school.apply(vec![released(pupil, MemberState::Active)]).await;
    let before = school.direct(pupil, teacher).await.unwrap().id;
    assert!(school.list(pupil).await.iter().any(|chat| chat.id == before));
});

// A consumer that was behind sees the release together with the next claim. A chat that the earlier person
// had left is sealed as well.
// Covers: R71 refused, F10 refused
on_both!(
    release_and_next_claim_in_one_batch_seal_chats,
    |database| async move {
        let school = School::open(database).await;
        let (direct, named) = school.chats_of_pupil().await;
        school
            .remove(school.class_teacher, named, &[school.pupil])
            .await
            .unwrap();
        assert!(!school.read(school.pupil, named).await.unwrap().is_empty());
        let events = [MemberState::Expected, MemberState::Active];
        let events = events.map(|state| released(school.pupil, state));
        school.apply(events.to_vec()).await;
        school.check_next_person(direct, named).await;
    }
);
