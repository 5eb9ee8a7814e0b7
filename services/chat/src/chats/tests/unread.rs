//! F20: the numbers of unread messages.
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1::ChatKind::*;
use parta_testkit::on_both;

use crate::{entries::UNREAD_MAX, tests::school::*};

async fn unread(school: &School, member: MemberId, chat: ChatId) -> i64 {
    let chats = school.list(member).await;
    let found = chats.iter().find(|listed| listed.id == chat.to_string());
    found.unwrap().unread_count
}

// Case 26
// Covers: F20 allowed, F20 refused
on_both!(unread_counts_messages_of_others_only, |database| async move {
    let s = School::open(database).await;
    let class = s.chat(s.pupil, ClassPupils).await;
    let channel = s.chat(s.pupil, SchoolChannel).await;
    for _ in 0..5 {
        let joined = s.fixture.env.id::<MemberId>();
        s.apply(vec![
            admitted(joined, Role::Pupil, false),
            enrolled(s.fixture.env.id(), joined, s.class),
        ])
        .await;
    }
    assert_eq!(unread(&s, s.pupil, class).await, 0);
    assert_eq!(unread(&s, s.pupil, channel).await, 0);
    s.send(s.pupil, class, "своё").await.unwrap();
    assert_eq!(unread(&s, s.pupil, class).await, 0);
    s.send(s.classmate, class, "чужое").await.unwrap();
    s.send(s.pupil, class, "ответ").await.unwrap();
    assert_eq!(unread(&s, s.pupil, class).await, 1);
    assert_eq!(unread(&s, s.classmate, class).await, 2);
    assert_eq!(unread(&s, s.head, channel).await, 0);
});

// Covers: F20 refused
on_both!(unread_has_a_limit_and_ends_with_the_chat, |database| async move {
    let s = School::open(database).await;
    let named = [s.pupil, s.classmate];
    let chat = s.custom(s.class_teacher, &named).await.unwrap();
    for n in 0..=UNREAD_MAX {
        s.send(s.classmate, chat, &n.to_string()).await.unwrap();
    }
    assert_eq!(unread(&s, s.pupil, chat).await, UNREAD_MAX);
    s.remove(s.pupil, chat, &[s.pupil]).await.unwrap();
    let left = s.get(s.pupil, chat).await.unwrap();
    assert_eq!((left.left_seq.is_some(), left.unread_count), (true, 0));
});
