//! F21: the author of an entry is named to everybody who can read it.
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_proto_membership::v1::{self as members, RelationLimit, membership_event::Payload as Member};
use parta_testkit::on_both;
use tonic::Code;

use crate::tests::school::*;

/// The members whom the entries name to the reader.
async fn authors(
    school: &School,
    reader: MemberId,
    chat: ChatId,
    seqs: Vec<i64>,
) -> Result<Vec<String>, tonic::Status> {
    let request = pb::BatchGetAuthorsRequest {
        org_id: school.org.to_string(),
        chat_id: chat.to_string(),
        seqs,
    };
    let request = school.fixture.request(school.org, reader, request);
    let found = school.messages().batch_get_authors(request).await?.into_inner();
    for author in &found.authors {
        assert_eq!(author.full_name, format!("Имя {}", author.member_id));
    }
    Ok(found.authors.into_iter().map(|author| author.member_id).collect())
}

// Case 24
// Covers: F21 allowed, F21 refused
on_both!(
    author_is_named_to_each_reader_of_the_entry,
    |database| async move {
        let s = School::open(database).await;
        let channel = s.chat(s.parent, SchoolChannel).await;
        let post = s.send(s.head, channel, "всем").await.unwrap().seq;
        let head = [s.head.to_string()];
        assert_eq!(authors(&s, s.parent, channel, vec![post]).await.unwrap(), head);
        // The other entries are joinings, of which a reader sees their own.
        let all: Vec<i64> = (1..=post).collect();
        let mut expected = vec![s.head.to_string(), s.parent.to_string()];
        expected.sort();
        assert_eq!(authors(&s, s.parent, channel, all).await.unwrap(), expected);
        assert_eq!(
            authors(&s, s.parent, channel, vec![post + 1]).await.unwrap(),
            [""; 0]
        );
        let class = s.chat(s.pupil, ClassPupils).await;
        let refused = code(authors(&s, s.other_pupil, class, vec![1]).await);
        assert_eq!(refused.0, Code::NotFound);
        for seqs in [Vec::new(), vec![1; 101], vec![0]] {
            let refused = code(authors(&s, s.parent, channel, seqs).await);
            assert_eq!(refused.0, Code::InvalidArgument);
        }
    }
);

// Covers: F21 refused, R38 refused
on_both!(
    later_authors_are_not_named_to_who_has_left,
    |database| async move {
        let s = School::open(database).await;
        let class = s.chat(s.pupil, ClassPupils).await;
        let before = s.send(s.classmate, class, "до").await.unwrap().seq;
        assert_eq!(
            authors(&s, s.pupil, class, vec![before]).await.unwrap(),
            [s.classmate.to_string()]
        );
        s.apply(vec![unenrolled(s.enrollment)]).await;
        let refused = code(authors(&s, s.pupil, class, vec![before]).await);
        assert_eq!(refused.0, Code::NotFound);
    }
);

// Covers: F13 refused, F21 refused
on_both!(authors_are_not_named_to_who_is_kept_away, |database| async move {
    let s = School::open(database).await;
    let channel = s.chat(s.parent, SchoolChannel).await;
    let named = async |maker: MemberId, other: MemberId| {
        let request = pb::CreateDirectChatRequest {
            request_id: new_uuid(&s.fixture).to_string(),
            org_id: s.org.to_string(),
            member_id: other.to_string(),
        };
        let request = s.fixture.request(s.org, maker, request);
        let made = s.chats().create_direct_chat(request).await.unwrap();
        made.into_inner().chat.unwrap().id.parse::<ChatId>().unwrap()
    };
    let chat = named(s.parent, s.pupil).await;
    let own = s.send(s.parent, chat, "как дела").await.unwrap().seq;
    let other = s.send(s.pupil, chat, "хорошо").await.unwrap().seq;
    let both = authors(&s, s.parent, chat, vec![own, other]).await.unwrap();
    assert_eq!(both.len(), 2);
    let limited = Member::RelationLimited(members::RelationLimited {
        guardian_id: s.parent.to_string(),
        child_id: s.pupil.to_string(),
        limits: vec![RelationLimit::NoContact.into()],
    });
    s.apply(vec![limited]).await;
    // The log of before stays readable, and the name is that of before, which the reader knows.
    let named = authors(&s, s.parent, chat, vec![own, other]).await.unwrap();
    assert_eq!(named, [s.parent.to_string()]);
    let post = s.send(s.head, channel, "всем").await.unwrap().seq;
    let named = authors(&s, s.parent, channel, vec![post]).await.unwrap();
    assert_eq!(named, [s.head.to_string()]);
});
