//! Old entries move out of the log and nobody notices.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{ChatId, TypedId};
use parta_proto::parta::chat::v1::{
    self as pb, ChatKind::*, live_service_client::LiveServiceClient, subscribe_chats_response::Item,
};
use parta_runtime::config::ServiceConfig;
use parta_storage::Db;
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait, Statement};
use tokio_util::sync::CancellationToken;

use super::school::*;
use crate::{
    Config,
    archive::{Step, archive_all, archive_step},
};

async fn count(db: &Db, sql: &str, chat: ChatId) -> i64 {
    let statement = Statement::from_sql_and_values(db.backend(), sql, [chat.uuid().into()]);
    let row = db.conn().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

/// Entries in the log, in the archive, and the border between them.
async fn places(db: &Db, chat: ChatId) -> (i64, i64, i64) {
    (
        count(db, "SELECT COUNT(*) FROM entry WHERE chat_id = $1", chat).await,
        count(db, "SELECT COUNT(*) FROM entry_archive WHERE chat_id = $1", chat).await,
        count(db, "SELECT archived_seq FROM chat WHERE chat_id = $1", chat).await,
    )
}

async fn pass(db: &Db, horizon: DateTime<Utc>) -> u64 {
    archive_all(db, horizon, 4, &CancellationToken::new())
        .await
        .unwrap()
}

/// Later than everything that is written.
fn later(school: &School) -> DateTime<Utc> {
    school.suite.env.now() + TimeDelta::days(1)
}

fn time(entry: &pb::Entry) -> DateTime<Utc> {
    let time = entry.create_time.unwrap();
    DateTime::from_timestamp(time.seconds, time.nanos.unsigned_abs()).unwrap()
}

/// A class chat in which so much was written, and its log.
async fn written(school: &School, messages: usize) -> (ChatId, Vec<pb::Entry>) {
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
        let request = school.suite.request(school.org, school.pupil, request);
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
    the_border_of_the_archive_is_crossed_in_pages_of_both_directions,
    |database| async move {
        let school = School::open(database).await;
        let (chat, log) = written(&school, 20).await;
        let db = &school.suite.db;
        let all = log.len() as i64;
        // Every place of the border in a page, from an empty archive to an empty log. The first entries tell who came in,
        // at one time all of them.
        let first = all - 20;
        for border in [0, first, first + 1, first + 2, first + 3, first + 7, all] {
            let horizon = log
                .get(usize::try_from(border).unwrap())
                .map_or_else(|| later(&school), time);
            pass(db, horizon).await;
            assert_eq!(places(db, chat).await, (all - border, border, border));
            assert_eq!(
                in_pages(&school, chat, Some(0)).await,
                log,
                "forward, border {border}"
            );
            let mut backward = in_pages(&school, chat, None).await;
            backward.reverse();
            assert_eq!(backward, log, "backward, border {border}");
            assert_eq!(in_pages(&school, chat, Some(2)).await, log[2..], "from a place");
        }
        assert_eq!(pass(db, later(&school)).await, 0, "nothing is moved twice");
        let next = school.send(school.pupil, chat, "on").await.unwrap();
        assert_eq!(next.seq, all + 1, "the log goes on where it was");
        assert_eq!(in_pages(&school, chat, Some(0)).await.len(), log.len() + 1);
    }
);

// Invariant 3
on_both!(
    a_page_is_whole_while_its_entries_move_to_the_archive,
    |database| async move {
        let school = School::open(database).await;
        let (chat, log) = written(&school, 60).await;
        let (db, horizon) = (&school.suite.db, later(&school));
        let moving = async {
            while places(db, chat).await.0 > 0 {
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
    a_subscription_with_an_old_cursor_is_served_from_the_archive,
    |database| async move {
        let school = School::open(database).await;
        let (chat, log) = written(&school, 20).await;
        pass(&school.suite.db, time(&log[13])).await;
        assert_eq!(places(&school.suite.db, chat).await.1, 13);
        let request = pb::SubscribeChatsRequest {
            org_id: school.org.to_string(),
            cursors: vec![pb::ChatCursor {
                chat_id: chat.to_string(),
                seq: 2,
            }],
        };
        let request = school.suite.request(school.org, school.pupil, request);
        let mut stream = LiveServiceClient::new(school.suite.channel.clone())
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
    places_stay_gapless_while_entries_are_archived,
    |database| async move {
        let school = Arc::new(School::open(database).await);
        let (chat, log) = written(&school, 5).await;
        let senders = [school.pupil, school.classmate, school.class_teacher].map(|member| {
            let school = school.clone();
            school.clone().suite.spawn(async move {
                for n in 0..40 {
                    // The pupil may be outside at the moment.
                    let _ = school.send(member, chat, &n.to_string()).await;
                }
            })
        });
        let over = CancellationToken::new();
        let archivers = [(), ()].map(|()| {
            let (school, over) = (school.clone(), over.clone());
            school.clone().suite.spawn(async move {
                let mut moved = 0;
                while !over.is_cancelled() {
                    moved += pass(&school.suite.db, later(&school)).await;
                }
                moved
            })
        });
        let mut enrollment = school.enrollment;
        for _ in 0..3 {
            school.learn(vec![unenrolled(enrollment)]).await;
            enrollment = school.suite.env.id();
            school
                .learn(vec![enrolled(enrollment, school.pupil, school.class)])
                .await;
            let seen = school.read(school.classmate, chat).await.unwrap();
            let seqs: Vec<_> = seen.iter().map(|e| e.seq).collect();
            assert_eq!(
                seqs,
                (1..=seen.len() as i64).collect::<Vec<_>>(),
                "gapless meanwhile"
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
        assert_eq!(seqs, (1..=all.len() as i64).collect::<Vec<_>>(), "gapless");
        let ids: BTreeSet<_> = all.iter().map(|e| &e.id).collect();
        assert_eq!(ids.len(), all.len(), "every entry once");
        let (left, archived, border) = places(&school.suite.db, chat).await;
        assert_eq!((left + archived, archived), (all.len() as i64, border));
        assert!(archived > 0 && moved >= archived.unsigned_abs(), "both at once");
    }
);

on_both!(a_batch_is_moved_as_a_whole_or_not_at_all, |database| async move {
    let school = School::open(database).await;
    let (chat, log) = written(&school, 10).await;
    let (db, all) = (&school.suite.db, log.len() as i64);
    // The walk comes to other chats first.
    let moved = async || loop {
        match archive_step(db, later(&school), 4).await {
            Ok(_) if places(db, chat).await.1 == 0 => {}
            other => return other,
        }
    };
    assert_eq!(moved().await.unwrap(), Step::Moved(4));
    assert_eq!(places(db, chat).await, (all - 4, 4, 4), "one batch");
    // The process ends here; what is read is the same.
    assert_eq!(in_pages(&school, chat, Some(0)).await, log);
    // A batch that fails in its middle.
    let stray = "INSERT INTO entry_archive SELECT * FROM entry WHERE chat_id = $1 AND seq = 6";
    let statement = Statement::from_sql_and_values(db.backend(), stray, [chat.uuid().into()]);
    db.writer().execute_raw(statement).await.unwrap();
    archive_step(db, later(&school), 4).await.unwrap_err();
    assert_eq!(places(db, chat).await, (all - 4, 5, 4), "nothing was moved");
    assert_eq!(in_pages(&school, chat, Some(0)).await, log);
    let stray = "DELETE FROM entry_archive WHERE chat_id = $1 AND seq = 6";
    let statement = Statement::from_sql_and_values(db.backend(), stray, [chat.uuid().into()]);
    db.writer().execute_raw(statement).await.unwrap();
    // Another process goes on where the first ended.
    pass(db, later(&school)).await;
    assert_eq!(places(db, chat).await, (0, all, all));
    assert_eq!(in_pages(&school, chat, Some(0)).await, log);
});

#[test]
fn the_age_of_the_archive_is_beyond_the_promise_of_repetitions() {
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
