//! Invariants 3 and 5 under concurrency, and the reason for the second check of a send on PostgreSQL.
use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt as _;
use parta_database::{Db, Transaction};
use parta_ids::{ChatId, TypedId};
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_testkit::{on_both, on_postgres};
use sea_orm::{ConnectionTrait, Statement};

use crate::tests::school::*;

// Invariants 2, 3, 5
// Covers: R39 allowed
on_both!(
    sequence_numbers_have_no_gap_when_sends_and_removals_race,
    |database| async move {
        let school = Arc::new(School::open(database).await);
        let class = school.chat(school.pupil, ClassPupils).await;
        let senders = [
            school.pupil,
            school.classmate,
            school.class_teacher,
            school.subject_teacher,
        ];
        let mut tasks = Vec::new();
        for (who, member) in senders.into_iter().cycle().take(12).enumerate() {
            let school = school.clone();
            tasks.push(school.clone().fixture.spawn(async move {
                let mut seqs = Vec::new();
                for n in 0..25 {
                    let id = new_uuid(&school.fixture);
                    let text = format!("{who}/{n}");
                    // The same message three times at once, as by a client that lost the response.
                    let (one, two, three) = tokio::join!(
                        school.send_as(member, class, id, &text),
                        school.send_as(member, class, id, &text),
                        school.send_as(member, class, id, &text)
                    );
                    let responses: Vec<_> = [one, two, three].into_iter().flatten().collect();
                    assert!(
                        responses.windows(2).all(|w| w[0] == w[1]),
                        "repetitions get the same response"
                    );
                    seqs.extend(responses.first().map(|response| (response.seq, text)));
                }
                seqs
            }));
        }
        // Meanwhile the pupil leaves and joins again.
        let mut enrollment = school.enrollment;
        for _ in 0..5 {
            school.apply(vec![unenrolled(enrollment)]).await;
            enrollment = school.fixture.env.id();
            school
                .apply(vec![enrolled(enrollment, school.pupil, school.class)])
                .await;
        }
        let mut acknowledged = BTreeMap::new();
        for task in tasks {
            for (seq, text) in task.await.unwrap() {
                assert!(
                    acknowledged.insert(seq, text).is_none(),
                    "no sequence number twice"
                );
            }
        }
        let log = school.read(school.class_teacher, class).await.unwrap();
        let seqs: Vec<_> = log.iter().map(|e| e.seq).collect();
        assert_eq!(seqs, (1..=log.len() as i64).collect::<Vec<_>>(), "no gap");
        let text: BTreeMap<_, _> = log
            .iter()
            .filter_map(|e| Some((e.seq, text(e)?.to_owned())))
            .collect();
        assert_eq!(
            text, acknowledged,
            "exactly the acknowledged messages are stored, each once"
        );
        // The log has no message of the pupil between a leaving and the next joining.
        let mut inside = true;
        for entry in &log {
            let member = school.pupil.to_string();
            match entry.content.as_ref().unwrap() {
                pb::entry::Content::Leaving(l) if l.member_id == member => inside = false,
                pb::entry::Content::Joining(j) if j.member_id == member => inside = true,
                pb::entry::Content::Message(m) if m.sender_id == member => {
                    assert!(inside, "message of a sender who does not participate");
                }
                _ => {}
            }
        }
    }
);

/// Locks the row of the chat and reads the participant in one statement: both in the snapshot from before the
/// lock.
const SINGLE_STATEMENT: &str = "WITH head AS MATERIALIZED (SELECT head_seq FROM chat WHERE org_id = $1 AND chat_id = $2 FOR UPDATE)
  SELECT EXISTS (SELECT 1 FROM head, participant p
                 WHERE p.org_id = $1 AND p.chat_id = $2 AND p.member_id = $3 AND p.left_seq IS NULL) AS allowed";

// The race for which the right is checked again: a removal is committed while the send waits for the lock. A
// single statement misses the removal.
on_postgres!(
    send_sees_a_removal_committed_while_it_waits,
    "SQLite has one writer at a time, so a send and a removal are never concurrent",
    |database| async move {
        let school = Arc::new(School::open(database).await);
        let class = school.chat(school.pupil, ClassPupils).await;
        let db = &school.fixture.db;
        let removal = removal(&school, class).await;
        let single = {
            let (school, statement) = (
                school.clone(),
                sql(db, SINGLE_STATEMENT, keys(&school, class).to_vec()),
            );
            school.clone().fixture.spawn(async move {
                let row = school
                    .fixture
                    .db
                    .writer()
                    .query_one_raw(statement)
                    .await
                    .unwrap()
                    .unwrap();
                row.try_get::<bool>("", "allowed").unwrap()
            })
        };
        let send = {
            let school = school.clone();
            school
                .clone()
                .fixture
                .spawn(async move { school.send(school.pupil, class, "нет").await })
        };
        wait_for_locks(db, 2).await;
        removal.commit().await.unwrap();
        assert!(
            single.await.unwrap(),
            "the single statement still finds the participant"
        );
        assert_eq!(code(send.await.unwrap()).0, tonic::Code::NotFound);
    }
);

// A batch is stored by another function than a single message.
on_postgres!(
    batch_sees_a_removal_committed_while_it_waits,
    "SQLite has one writer at a time, so a batch and a removal are never concurrent",
    |database| async move {
        let school = Arc::new(School::open(database).await);
        let class = school.chat(school.pupil, ClassPupils).await;
        let db = &school.fixture.db;
        let send = |who, text: &'static str| {
            let school = school.clone();
            let sending = school.clone();
            school
                .fixture
                .spawn(async move { sending.send(who, class, text).await })
        };

        let removal = removal(&school, class).await;
        let first = send(school.class_teacher, "раз");
        let queued = [
            send(school.pupil, "два"),
            send(school.pupil, "три"),
            send(school.classmate, "четыре"),
        ];
        // A wait is limited. After it, all messages of the chat wait together.
        wait_for_locks_of(db, 1, "%chat_post_many%").await;
        removal.commit().await.unwrap();
        first.await.unwrap().unwrap();

        let [two, three, four] = futures::future::join_all(queued).await.try_into().unwrap();
        assert_eq!(code(two.unwrap()).0, tonic::Code::NotFound);
        assert_eq!(code(three.unwrap()).0, tonic::Code::NotFound);
        // The others still participate and get the next sequence numbers.
        let head = school.read(school.classmate, class).await.unwrap().len() as i64;
        let four = four.unwrap().unwrap().seq;
        assert!([head - 1, head].contains(&four), "{four} of {head}");
    }
);

// The writer waits for no chat: a chat whose row another transaction has locked delays only its own messages.
// Covers: R39 allowed
on_postgres!(
    locked_chat_delays_no_other_chat,
    "SQLite has one writer at a time, and no transaction locks a row",
    |database| async move {
        const OTHERS: usize = 10;
        let school = Arc::new(School::open(database).await);
        let class = school.chat(school.pupil, ClassPupils).await;
        let mut others = Vec::new();
        for n in 0..OTHERS {
            let request = pb::CreateChatRequest {
                request_id: new_uuid(&school.fixture).to_string(),
                org_id: school.org.to_string(),
                title: n.to_string(),
                member_ids: vec![school.pupil.to_string()],
            };
            let request = school.fixture.request(school.org, school.class_teacher, request);
            let created = school.chats().create_chat(request).await.unwrap().into_inner();
            others.push(created.chat.unwrap().id.parse::<ChatId>().unwrap());
        }
        let head = school.read(school.pupil, class).await.unwrap().len() as i64;
        let locked = lock(&school, class).await;
        let send = |chat: ChatId, text: &str| {
            let (sending, text) = (school.clone(), text.to_owned());
            school.fixture.spawn(async move {
                let sent = sending.send(sending.pupil, chat, &text).await;
                sent.map(|sent| sent.seq)
            })
        };
        // First a message in a batch of its own, then several in the batches of the other chats.
        let mut waiting = vec![send(class, "первое")];
        wait_for_locks(&school.fixture.db, 1).await;
        for text in ["второе", "третье"] {
            waiting.push(send(class, text));
            let sends: Vec<_> = others.iter().map(|chat| send(*chat, text)).collect();
            for sent in futures::future::join_all(sends).await {
                sent.unwrap().unwrap();
            }
        }
        assert!(
            waiting.iter().all(|sent| !sent.is_finished()),
            "the chat is locked"
        );
        locked.commit().await.unwrap();
        let mut seqs = Vec::new();
        for sent in waiting {
            seqs.push(sent.await.unwrap().unwrap());
        }
        seqs.sort_unstable();
        assert_eq!(seqs, [head + 1, head + 2, head + 3]);
    }
);

/// A transaction that has locked the row of a chat.
async fn lock(school: &School, chat: ChatId) -> Transaction {
    let db = &school.fixture.db;
    let locked = db.writer().begin().await.unwrap();
    let lock = "SELECT 1 FROM chat WHERE org_id = $1 AND chat_id = $2 FOR UPDATE";
    let key = vec![school.org.uuid().into(), chat.uuid().into()];
    locked.execute_raw(sql(db, lock, key)).await.unwrap();
    locked
}

fn sql(db: &Db, sql: &str, values: Vec<sea_orm::Value>) -> Statement {
    Statement::from_sql_and_values(db.backend(), sql, values)
}

fn keys(school: &School, chat: ChatId) -> [sea_orm::Value; 3] {
    [
        school.org.uuid().into(),
        chat.uuid().into(),
        school.pupil.uuid().into(),
    ]
}

/// A removal of the pupil that has locked the row of the chat and is not committed.
async fn removal(school: &School, chat: ChatId) -> Transaction {
    let db = &school.fixture.db;
    let removal = db.writer().begin().await.unwrap();
    for statement in [
        "UPDATE chat SET audience_version = audience_version + 1 WHERE org_id = $1 AND chat_id = $2 AND $3::uuid IS NOT NULL",
        "UPDATE participant SET left_seq = 1 WHERE org_id = $1 AND chat_id = $2 AND member_id = $3",
    ] {
        removal
            .execute_raw(sql(db, statement, keys(school, chat).to_vec()))
            .await
            .unwrap();
    }
    removal
}

/// Waits until this many sessions wait for a lock.
async fn wait_for_locks(db: &Db, many: i64) {
    wait_for_locks_of(db, many, "%").await;
}

/// Waits until this many sessions wait for a lock in a statement that is like this one.
async fn wait_for_locks_of(db: &Db, many: i64, statement: &str) {
    let waiting = "SELECT count(*) AS n FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1";
    parta_testkit::eventually("sessions that wait for a lock", async || {
        let row = db
            .conn()
            .query_one_raw(sql(db, waiting, vec![statement.into()]))
            .await
            .unwrap()
            .unwrap();
        (row.try_get::<i64>("", "n").unwrap() >= many).then_some(())
    })
    .await;
}

// G11
on_both!(full_queue_is_refused_with_a_retry_delay, |database| async move {
    let config = crate::Config {
        send_queue: 1,
        send_batch: 1,
        ..crate::Config::default()
    };
    let school = Arc::new(School::open_with(database, config).await);
    let class = school.chat(school.pupil, ClassPupils).await;
    let db = &school.fixture.db;
    // Nothing is stored while the test holds the write lock of SQLite and, on PostgreSQL, the table of the
    // chats: the writer passes over a row that is locked, and waits for a table.
    let write_lock = db.write_lock().acquire().await;
    let table_lock = if db.is_postgres() {
        let transaction = db.writer().begin().await.unwrap();
        let statement = "LOCK TABLE chat IN ACCESS EXCLUSIVE MODE";
        transaction
            .execute_raw(sql(db, statement, Vec::new()))
            .await
            .unwrap();
        Some(transaction)
    } else {
        None
    };
    let sends = (0..64).map(|n| {
        let school = school.clone();
        async move { school.send(school.pupil, class, &n.to_string()).await }
    });
    let mut sends: futures::stream::FuturesUnordered<_> = sends.collect();
    let mut results = vec![sends.next().await.unwrap()];
    drop(write_lock);
    if let Some(transaction) = table_lock {
        transaction.commit().await.unwrap();
    }
    results.extend(sends.collect::<Vec<_>>().await);
    let stored = results.iter().filter(|r| r.is_ok()).count();
    let mut refused = 0;
    for status in results.into_iter().filter_map(Result::err) {
        let refusal = parta_status::RpcError::from_status(&status).unwrap();
        assert_eq!(
            (refusal.code(), refusal.reason()),
            (tonic::Code::Unavailable, "OVERLOADED")
        );
        assert!(refusal.retry_delay().is_some());
        refused += 1;
    }
    assert!(stored > 0 && refused > 0, "{stored} stored, {refused} refused");
    let log = school.read(school.pupil, class).await.unwrap();
    assert_eq!(log.iter().filter_map(text).count(), stored);
});
