//! Every pair of mutations that touch one chat, at the same time, on PostgreSQL. SQLite has one writer.
use parta_ids::{ChatId, MemberId, TypedId as _};
use parta_service_testkit::Races;
use parta_testkit::{TestDatabase, on_postgres};

use crate::tests::school::*;

/// A chat of three people that one of them made, and a fourth person.
struct Trip {
    chat: ChatId,
    maker: MemberId,
    participants: [MemberId; 2],
    other: MemberId,
}

async fn trip(school: &School) -> Trip {
    let [maker, one, another, other] = std::array::from_fn(|_| school.fixture.env.id::<MemberId>());
    let teachers = [maker, one, another, other].map(|member| admitted(member, Role::Teacher, true));
    school.apply(teachers.to_vec()).await;
    Trip {
        chat: school.custom(maker, &[one, another]).await.unwrap(),
        maker,
        participants: [one, another],
        other,
    }
}

on_postgres!(
    /// Covers: R34 allowed, R37 allowed
    pairs_about_one_chat_end_as_in_a_serial_order,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let school = School::open(database).await;
        let races = Races::<School, Trip> {
            acts: vec![
                ("AddParticipants", |school, trip| Box::pin(async move {
                    school.add(trip.maker, trip.chat, &[trip.other]).await
                })),
                ("RemoveParticipants of two", |school, trip| Box::pin(async move {
                    school.remove(trip.maker, trip.chat, &trip.participants).await
                })),
                ("RemoveParticipants of oneself", |school, trip| Box::pin(async move {
                    let [one, _] = trip.participants;
                    school.remove(one, trip.chat, &[one]).await
                })),
                ("AddParticipants of all", |school, trip| Box::pin(async move {
                    let [one, another] = trip.participants;
                    school.add(trip.maker, trip.chat, &[another, trip.other, one]).await
                })),
                ("TransferResponsibility", |school, trip| Box::pin(async move {
                    let [one, another] = trip.participants;
                    school.transfer(trip.maker, trip.chat, one, Some(another)).await.map(|_| ())
                })),
                ("TransferResponsibility to the other", |school, trip| Box::pin(async move {
                    school.transfer(trip.maker, trip.chat, trip.other, None).await.map(|_| ())
                })),
                ("CreateDirectChat", |school, trip| Box::pin(async move {
                    school.direct(trip.maker, trip.other).await.map(|_| ())
                })),
                ("CreateDirectChat by the other", |school, trip| Box::pin(async move {
                    school.direct(trip.other, trip.maker).await.map(|_| ())
                })),
            ],
            subject: |school| Box::pin(trip(school)),
            barrier: |_| vec!["LOCK TABLE chat, participant IN EXCLUSIVE MODE".to_owned()],
            compares_reasons: true,
            state: |trip| {
                let chat = trip.chat.uuid();
                let participant_row = |member: MemberId| {
                    format!(
                        "SELECT MAX(CONCAT_WS(' ', left_seq IS NULL, may_post)) FROM participant \
                         WHERE chat_id = '{chat}' AND member_id = '{}'",
                        member.uuid()
                    )
                };
                let [one, another] = trip.participants;
                vec![
                    participant_row(one),
                    participant_row(another),
                    participant_row(trip.other),
                    format!(
                        "SELECT MAX(CONCAT_WS(' ', responsible_id = '{}', responsible_id = '{}', \
                         responsible_id = '{}', deputy_id = '{}', unsupervised)) FROM chat WHERE chat_id = '{chat}'",
                        trip.maker.uuid(),
                        one.uuid(),
                        trip.other.uuid(),
                        another.uuid()
                    ),
                    format!(
                        "SELECT STRING_AGG(kind::TEXT, ',' ORDER BY seq) FROM entry WHERE chat_id = '{chat}'"
                    ),
                    format!(
                        "SELECT COUNT(*)::TEXT FROM participant WHERE member_id = '{}' AND chat_id <> '{chat}' \
                         AND chat_id IN (SELECT chat_id FROM chat WHERE unit_id IS NULL)",
                        trip.other.uuid()
                    ),
                ]
            },
        };
        races.run(&school, &url).await;
    }
);
