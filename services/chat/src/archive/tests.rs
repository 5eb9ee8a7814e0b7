//! The archiving of old entries, which readers do not notice.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use parta_database::Db;
use parta_ids::{ChatId, TypedId};
use parta_proto_chat::v1::{
    self as pb, ChatKind::*, live_service_client::LiveServiceClient, subscribe_chats_response::Item,
};
use parta_runtime::config::ServiceConfig;
use parta_testkit::{on_both, on_sqlite};
use sea_orm::{ConnectionTrait, Statement};
use tokio_util::sync::CancellationToken;

use super::{
    operations::archive_all,
    storage::{Step, archive_step},
};
use crate::{Config, tests::school::*};

async fn count(db: &Db, sql: &str, chat: ChatId) -> i64 {
    let statement = Statement::from_sql_and_values(db.backend(), sql, [chat.uuid().into()]);
    let row = db.conn().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

/// The numbers of entries in the log and in the archive, and the `archived_seq` of the chat.
async fn archive_state(db: &Db, chat: ChatId) -> (i64, i64, i64) {
    (
        count(db, "SELECT COUNT(*) FROM entry WHERE chat_id = $1", chat).await,
        count(db, "SELECT COUNT(*) FROM entry_archive WHERE chat_id = $1", chat).await,
        count(db, "SELECT archived_seq FROM chat WHERE chat_id = $1", chat).await,
    )
}

/// An entry of the chat that is in both tables, so that the chat cannot be archived.
const STRAY: &str = "INSERT INTO entry_archive SELECT * FROM entry WHERE chat_id = $1 AND seq = 6";

async fn execute(db: &Db, sql: &str, chat: ChatId) {
    let statement = Statement::from_sql_and_values(db.backend(), sql, [chat.uuid().into()]);
    let done = db.writer().execute_raw(statement).await.unwrap();
    assert_eq!(done.rows_affected(), 1, "{sql}");
}

async fn archive(db: &Db, horizon: DateTime<Utc>) -> u64 {
    archive_all(db, horizon, 4, &CancellationToken::new())
        .await
        .unwrap()
}

/// A time after all entries.
fn later(school: &School) -> DateTime<Utc> {
    school.fixture.env.now() + TimeDelta::days(1)
}

fn time(entry: &pb::Entry) -> DateTime<Utc> {
    let time = entry.create_time.unwrap();
    DateTime::from_timestamp(time.seconds, time.nanos.unsigned_abs()).unwrap()
}

/// The chat of the class with this number of messages, and its log.
async fn chat_with_messages(school: &School, messages: usize) -> (ChatId, Vec<pb::Entry>) {
    let chat = school.chat(school.pupil, ClassPupils).await;
    for n in 0..messages {
        school.send(school.pupil, chat, &n.to_string()).await.unwrap();
    }
    (chat, school.read(school.pupil, chat).await.unwrap())
}

/// The whole log in pages of three, from the beginning or from the end.
async fn in_pages(school: &School, chat: ChatId, after_seq: Option<i64>) -> Vec<pb::Entry> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListEntriesRequest {
            org_id: school.org.to_string(),
            chat_id: chat.to_string(),
            after_seq,
            page_size: 3,
            page_token,
        };
        let request = school.fixture.request(school.org, school.pupil, request);
        let page = school
            .messages()
            .list_entries(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.entries.len() <= 3);
        all.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

on_both!(
    pages_cross_the_archive_border_in_both_directions,
    |database| async move {
        let school = School::open(database).await;
        let (chat, log) = chat_with_messages(&school, 20).await;
        let db = &school.fixture.db;
        let all = log.len() as i64;
        // Every position of the border in a page, from an empty archive to an empty log. The first entries
        // are joinings with the same time.
        let first = all - 20;
        for border in [0, first, first + 1, first + 2, first + 3, first + 7, all] {
            let horizon = log
                .get(usize::try_from(border).unwrap())
                .map_or_else(|| later(&school), time);
            archive(db, horizon).await;
            assert_eq!(archive_state(db, chat).await, (all - border, border, border));
            assert_eq!(
                in_pages(&school, chat, Some(0)).await,
                log,
                "forward, border {border}"
            );
            let mut backward = in_pages(&school, chat, None).await;
            backward.reverse();
            assert_eq!(backward, log, "backward, border {border}");
            assert_eq!(
                in_pages(&school, chat, Some(2)).await,
                log[2..],
                "forward from a sequence number"
            );
        }
        assert_eq!(archive(db, later(&school)).await, 0, "no entry is moved twice");
        let next = school.send(school.pupil, chat, "on").await.unwrap();
        assert_eq!(next.seq, all + 1, "sequence numbers continue");
        assert_eq!(in_pages(&school, chat, Some(0)).await.len(), log.len() + 1);
    }
);

// Invariant 3
on_both!(
    page_is_complete_when_its_entries_are_being_archived,
    |database| async move {
        let school = School::open(database).await;
        let (chat, log) = chat_with_messages(&school, 60).await;
        let (db, horizon) = (&school.fixture.db, later(&school));
        let moving = async {
            while archive_state(db, chat).await.0 > 0 {
                archive_step(db, horizon, 1).await.unwrap();
            }
        };
        tokio::pin!(moving);
        let mut moved = false;
        while !moved {
            let reading = async {
                let forward = in_pages(&school, chat, Some(0)).await;
                let mut backward = in_pages(&school, chat, None).await;
                backward.reverse();
                (forward, backward)
            };
            tokio::pin!(reading);
            let (forward, backward) = loop {
                tokio::select! {
                    pages = &mut reading => break pages,
                    () = &mut moving, if !moved => moved = true,
                }
            };
            assert_eq!(forward, log);
            assert_eq!(backward, log);
        }
    }
);

// Invariant 3
on_both!(
    subscription_reads_the_archive_when_its_cursor_is_old,
    |database| async move {
        let school = School::open(database).await;
        let (chat, log) = chat_with_messages(&school, 20).await;
        archive(&school.fixture.db, time(&log[13])).await;
        assert_eq!(archive_state(&school.fixture.db, chat).await.1, 13);
        let request = pb::SubscribeChatsRequest {
            org_id: school.org.to_string(),
            cursors: vec![pb::ChatCursor {
                chat_id: chat.to_string(),
                seq: 2,
                entry_id: log[1].id.clone(),
            }],
        };
        let request = school.fixture.request(school.org, school.pupil, request);
        let mut stream = LiveServiceClient::new(school.fixture.channel.clone())
            .subscribe_chats(request)
            .await
            .unwrap()
            .into_inner();
        let mut seen = 0;
        while seen < log.len() - 2 {
            let next = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
            if let Some(Item::Entry(entry)) = next.expect("in time").unwrap().unwrap().item {
                assert_eq!(entry, log[2 + seen]);
                seen += 1;
            }
        }
    }
);

// Invariants 3, 5
on_both!(
    sequence_numbers_have_no_gap_when_entries_are_archived,
    |database| async move {
        let school = Arc::new(School::open(database).await);
        let (chat, log) = chat_with_messages(&school, 5).await;
        let senders = [school.pupil, school.classmate, school.class_teacher].map(|member| {
            let school = school.clone();
            school.clone().fixture.spawn(async move {
                for n in 0..40 {
                    // Fails while the pupil does not participate.
                    let _ = school.send(member, chat, &n.to_string()).await;
                }
            })
        });
        let over = CancellationToken::new();
        let archivers = [(), ()].map(|()| {
            let (school, over) = (school.clone(), over.clone());
            school.clone().fixture.spawn(async move {
                let mut moved = 0;
                while !over.is_cancelled() {
                    moved += archive(&school.fixture.db, later(&school)).await;
                }
                moved
            })
        });
        let mut enrollment = school.enrollment;
        for _ in 0..3 {
            school.apply(vec![unenrolled(enrollment)]).await;
            enrollment = school.fixture.env.id();
            school
                .apply(vec![enrolled(enrollment, school.pupil, school.class)])
                .await;
            let seen = school.read(school.classmate, chat).await.unwrap();
            let seqs: Vec<_> = seen.iter().map(|e| e.seq).collect();
            assert_eq!(
                seqs,
                (1..=seen.len() as i64).collect::<Vec<_>>(),
                "no gap meanwhile"
            );
        }
        for sender in senders {
            sender.await.unwrap();
        }
        over.cancel();
        let mut moved = 0;
        for archiver in archivers {
            moved += archiver.await.unwrap();
        }
        let all = school.read(school.classmate, chat).await.unwrap();
        assert!(all.len() >= log.len() + 80 + 6, "{}", all.len());
        let seqs: Vec<_> = all.iter().map(|e| e.seq).collect();
        assert_eq!(seqs, (1..=all.len() as i64).collect::<Vec<_>>(), "no gap");
        let ids: BTreeSet<_> = all.iter().map(|e| &e.id).collect();
        assert_eq!(ids.len(), all.len(), "every entry once");
        let (left, archived, border) = archive_state(&school.fixture.db, chat).await;
        assert_eq!((left + archived, archived), (all.len() as i64, border));
        assert!(
            archived > 0 && moved >= archived.unsigned_abs(),
            "archiving and sending were concurrent"
        );
    }
);

on_both!(archive_batch_is_atomic, |database| async move {
    let school = School::open(database).await;
    let (chat, log) = chat_with_messages(&school, 10).await;
    let (db, all) = (&school.fixture.db, log.len() as i64);
    // Other chats are checked first.
    let moved = async || loop {
        match archive_step(db, later(&school), 4).await {
            Ok(_) if archive_state(db, chat).await.1 == 0 => {}
            other => return other,
        }
    };
    assert_eq!(moved().await.unwrap(), Step::Moved(4));
    assert_eq!(archive_state(db, chat).await, (all - 4, 4, 4), "one batch");
    // If the process ended here, readers would get the same entries.
    assert_eq!(in_pages(&school, chat, Some(0)).await, log);
    // A batch that fails halfway.
    parta_testkit::logs().allow("a chat is damaged");
    execute(db, STRAY, chat).await;
    assert_eq!(archive_step(db, later(&school), 4).await.unwrap(), Step::Skipped);
    assert_eq!(
        archive_state(db, chat).await,
        (all - 4, 5, 4),
        "no entry was moved"
    );
    assert_eq!(in_pages(&school, chat, Some(0)).await, log);
    execute(
        db,
        "DELETE FROM entry_archive WHERE chat_id = $1 AND seq = 6",
        chat,
    )
    .await;
    // Another process continues where the first one ended. The next pass begins with the first chat.
    archive(db, later(&school)).await;
    archive(db, later(&school)).await;
    assert_eq!(archive_state(db, chat).await, (0, all, all));
    assert_eq!(in_pages(&school, chat, Some(0)).await, log);
});

on_both!(damaged_chat_delays_no_other_chat, |database| async move {
    parta_testkit::logs().allow("a chat is damaged");
    let school = School::open(database).await;
    let (chat, log) = chat_with_messages(&school, 10).await;
    let db = &school.fixture.db;
    let next = "SELECT COUNT(*) FROM chat WHERE chat_id > $1";
    assert!(
        count(db, next, chat).await > 0,
        "chats that follow the damaged one"
    );
    let remaining = "SELECT COUNT(*) FROM entry WHERE chat_id <> $1";
    assert!(count(db, remaining, chat).await > 0);
    let damages = || {
        parta_testkit::logs()
            .lines()
            .iter()
            .filter(|line| line.text.contains("a chat is damaged"))
            .count()
    };

    execute(db, STRAY, chat).await;
    archive(db, later(&school)).await;
    assert_eq!(count(db, remaining, chat).await, 0, "the others are archived");
    let all = log.len() as i64;
    // The batch before the damage was moved.
    assert_eq!(archive_state(db, chat).await, (all - 4, 5, 4));
    assert_eq!(damages(), 1);

    execute(
        db,
        "DELETE FROM entry_archive WHERE chat_id = $1 AND seq = 6",
        chat,
    )
    .await;
    archive(db, later(&school)).await;
    assert_eq!(
        archive_state(db, chat).await,
        (0, all, all),
        "the next pass archives it"
    );
    assert_eq!(damages(), 1);
});

on_sqlite!(
    chat_with_an_unreadable_time_delays_no_other_chat,
    "PostgreSQL accepts only valid times",
    |database| async move {
        parta_testkit::logs().allow("a chat is damaged");
        let school = School::open(database).await;
        let (chat, log) = chat_with_messages(&school, 10).await;
        let db = &school.fixture.db;
        let damage = "UPDATE entry SET create_time = 'never' WHERE chat_id = $1 AND seq = 1";
        execute(db, damage, chat).await;
        archive(db, later(&school)).await;
        let remaining = "SELECT COUNT(*) FROM entry WHERE chat_id <> $1";
        assert_eq!(count(db, remaining, chat).await, 0, "the others are archived");
        assert_eq!(archive_state(db, chat).await, (log.len() as i64, 0, 0));
    }
);

#[test]
fn archive_age_is_limited_to_31_to_36500_days() {
    let problems = |archive_after_days| {
        let config = Config {
            archive_after_days,
            ..Config::default()
        };
        let mut problems = Vec::new();
        config.validate(&mut problems);
        problems.len()
    };
    assert_eq!([0, 31, 400, 36_500].map(problems), [0; 4]);
    assert_eq!([1, 30, 36_501].map(problems), [1; 3]);
}
