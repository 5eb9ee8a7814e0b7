//! Tests of the event log: positions come from a head row and are dense.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use chrono::TimeDelta;
use futures::{StreamExt, future::join_all};
use parta_access::{Caller, Principal};
use parta_database::StorageError;
use parta_feed::append_event;
use parta_ids::TypedId;
use parta_mutations::{Claim, ConsistencyToken, Mutation};
use parta_proto_org_registry::v1::watch_response::Item;
use parta_testkit::{on_both, on_postgres};
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

use crate::{
    school::{
        add, another_replica, create, created, migrations, next_positions, org, restore, service, watch,
    },
    support::{Store, secrets},
};

async fn naive(conn: &impl ConnectionTrait, after: i64) -> Vec<i64> {
    let sql = "SELECT position FROM naive WHERE position > $1 ORDER BY position";
    let rows = conn.query_all_raw(Statement::from_sql_and_values(
        conn.get_database_backend(),
        sql,
        [after.into()],
    ));
    rows.await
        .unwrap()
        .iter()
        .map(|row| row.try_get("", "position").unwrap())
        .collect()
}

// R43: an identity column loses the event of a transaction that began first and committed last; the head row
// does not.
on_postgres!(
    identity_column_loses_late_commits,
    "SQLite has one writer at a time, so no transaction overtakes another",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let conn = store.db.writer();
        conn.execute_unprepared("CREATE TABLE naive (position bigint GENERATED ALWAYS AS IDENTITY, n int)")
            .await
            .unwrap();
        let insert = "INSERT INTO naive (n) VALUES (1)";
        let slow = conn.begin().await.unwrap();
        slow.execute_unprepared(insert).await.unwrap();
        conn.execute_unprepared(insert).await.unwrap();
        let seen = naive(conn, 0).await;
        slow.commit().await.unwrap();
        let later = naive(conn, *seen.last().unwrap()).await;
        assert_eq!(
            (seen, later),
            (vec![2], vec![]),
            "a reader that resumes after position 2 loses position 1"
        );

        // The same two transactions with `append_event`: the slow one appends its event before the quick one
        // begins.
        let (staged, quick_may_begin) = tokio::sync::oneshot::channel::<()>();
        let (quick_done, slow_may_commit) = tokio::sync::oneshot::channel::<()>();
        let once = std::sync::Mutex::new(Some((staged, slow_may_commit)));
        let (db, once) = (&store.db, &once);
        let slow = db.write(|tx| async move {
            create(&tx, org(1), "slow", "slow").await?;
            let (staged, slow_may_commit) = once.lock().unwrap().take().unwrap();
            drop(staged);
            let _ = slow_may_commit.await;
            Ok::<_, StorageError>(())
        });
        let quick = async {
            let _ = quick_may_begin.await;
            add(db, org(1), "quick", "quick").await;
            let mut stream = watch(service(db), org(1), "").await.unwrap();
            let (seen, _) = next_positions(&mut stream, 1).await;
            drop(quick_done);
            (seen, stream)
        };
        let (slow, (seen, mut stream)) = tokio::join!(slow, quick);
        slow.unwrap();
        assert_eq!(seen, [1]);
        assert_eq!(
            next_positions(&mut stream, 1).await.0,
            [2],
            "the event of the slow transaction has a later position"
        );
    }
);

// R43: with many concurrent writers, some of them rolled back, live readers receive every position of the
// organization once and in order. Other organizations have positions of their own.
on_both!(positions_are_dense_and_in_commit_order, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    let writers = join_all((0..8).map(|writer| async move {
        for n in 0..15 {
            let unit = format!("{writer}-{n}");
            let unit = &unit;
            let result: Result<(), StorageError> = db
                .write(|tx| async move {
                    create(&tx, org(writer % 2), unit, "x").await?;
                    create(&tx, org(writer % 2), &format!("{unit}-b"), "x").await?;
                    if n % 3 == 2 {
                        Err(StorageError::Fault("rolled back".into()))
                    } else {
                        Ok(())
                    }
                })
                .await;
            assert_eq!(result.is_err(), n % 3 == 2);
        }
    }));
    let readers = join_all((0..4).map(|reader| async move {
        let mut stream = watch(service(db), org(reader % 2), "").await.unwrap();
        next_positions(&mut stream, 80).await.0
    }));
    let (_, readers) = tokio::join!(writers, readers);
    for positions in readers {
        assert_eq!(positions, (1..=80).collect::<Vec<_>>());
    }
});

// Each event names the event before it, across transactions and statements, so that a cursor can be checked
// although its own event was purged.
on_both!(each_event_names_the_one_before, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    add(db, org(1), "a", "x").await;
    // More events than one statement inserts.
    let many: Result<(), StorageError> = db
        .write(|tx| async move {
            for n in 0..620 {
                append_event(&tx, org(1), created(&format!("u{n}"), "x"));
            }
            Ok(())
        })
        .await;
    many.unwrap();
    add(db, org(1), "z", "x").await;
    let sql = "SELECT position, event_id, previous_id FROM event ORDER BY position";
    let rows = db
        .conn()
        .query_all_raw(Statement::from_string(db.backend(), sql))
        .await
        .unwrap();
    assert_eq!(rows.len(), 622);
    let mut before = Uuid::nil();
    for (row, position) in rows.iter().zip(1_i64..) {
        let previous: Uuid = row.try_get("", "previous_id").unwrap();
        assert_eq!(
            (row.try_get("", "position").unwrap(), previous),
            (position, before)
        );
        before = row.try_get("", "event_id").unwrap();
    }
    assert_eq!(db.head(org(1)).await.unwrap().event_id, before);
});

// An effect on another organization is a job of that organization: two logs have no common order.
on_both!(transaction_appends_to_one_log, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let both: Result<(), StorageError> = store
        .db
        .write(|tx| async move {
            append_event(&tx, org(1), created("a", "x"));
            append_event(&tx, org(2), created("b", "x"));
            Ok(())
        })
        .await;
    let refused = both.unwrap_err().to_string();
    assert!(refused.contains("appends to the logs of"), "{refused}");
    assert_eq!(store.db.head(org(1)).await.unwrap().position, 0);
});

// The bus may lose a hint, and a commit of another replica sends none here. All heads are read every second
// while a stream is open.
on_postgres!(
    lost_hint_is_covered_by_reading_the_heads,
    "SQLite has one process",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let other = another_replica(&store, &database).await;
        let mut stream = watch(service(&store.db), org(1), "").await.unwrap();
        let first = stream.next().await.unwrap().unwrap();
        assert!(matches!(first.item, Some(Item::Checkpoint(_))));
        add(&other, org(1), "a", "x").await;
        assert_eq!(next_positions(&mut stream, 1).await.0, [1]);
    }
);

// Events are kept for 30 days. The remaining positions are dense, and an expired cursor is refused so that
// the client reads a snapshot.
on_both!(
    old_events_are_purged_and_their_cursors_expire,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let db = &store.db;
        let read = async |cursor: &str| {
            let mut stream = watch(service(db), org(1), cursor).await?;
            Ok::<_, tonic::Status>(next_positions(&mut stream, 1).await)
        };
        add(db, org(1), "a", "x").await;
        let (_, first_cursor) = read("").await.unwrap();
        add(db, org(1), "b", "x").await;
        let (_, second_cursor) = read(&first_cursor).await.unwrap();
        // A quiet organization, whose last event will be purged.
        add(db, org(2), "a", "x").await;
        let mut quiet = watch(service(db), org(2), "").await.unwrap();
        let (_, quiet_cursor) = next_positions(&mut quiet, 1).await;
        store
            .clock
            .advance(TimeDelta::days(parta_feed::RETENTION_DAYS) + TimeDelta::seconds(1));
        add(db, org(1), "c", "x").await;
        parta_feed::purge(db).await.unwrap();

        assert_eq!(read(&second_cursor).await.unwrap().0, [3]);
        for expired in ["", first_cursor.as_str()] {
            assert_eq!(read(expired).await.unwrap_err().code(), tonic::Code::OutOfRange);
        }
        // The purged event of the quiet organization is named by the head and by the next event.
        watch(service(db), org(2), &quiet_cursor).await.unwrap();
        add(db, org(2), "b", "x").await;
        let mut quiet = watch(service(db), org(2), &quiet_cursor).await.unwrap();
        assert_eq!(next_positions(&mut quiet, 1).await.0, [2]);

        db.expire_cursors().await.unwrap();
        assert_eq!(
            read(&second_cursor).await.unwrap_err().code(),
            tonic::Code::OutOfRange
        );
    }
);

// A database that was restored from a backup may use a position again, but never an event id. The cursor of
// the lost history is refused, for its organization only.
on_both!(cursor_of_a_lost_history_expires, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    for n in [1, 2] {
        add(db, org(n), "a", "x").await;
    }
    let backup = db.head(org(1)).await.unwrap();
    add(db, org(1), "b", "x").await;
    let cursor_of = async |n: u128, count| {
        let mut stream = watch(service(db), org(n), "").await.unwrap();
        next_positions(&mut stream, count).await.1
    };
    let (lost, other) = (cursor_of(1, 2).await, cursor_of(2, 1).await);
    restore(db, org(1), backup).await;
    // Ahead of the log, and then at a position that another event has taken.
    for unit in ["c", "d"] {
        let refused = watch(service(db), org(1), &lost).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::OutOfRange);
        add(db, org(1), unit, "x").await;
    }
    let refused = watch(service(db), org(1), &lost).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange);
    watch(service(db), org(2), &other).await.unwrap();
});

// Invariant 2: the response contains the position of the events, and a repetition does not append them again.
on_both!(mutation_appends_its_events_once, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    let operator = Principal::Operator { name: "test".into() };
    let caller = Caller::new(operator, "parta.test.v1.TestService/Do");
    let mutation = Mutation::new(&caller, &org(77).uuid().to_string(), &String::new()).unwrap();
    let mut positions = Vec::new();
    for _ in 0..2 {
        let token: Result<String, StorageError> =
            parta_mutations::mutate(db, &mutation, |tx, claim| async move {
                if let Claim::New(claimed) = claim {
                    create(&tx, org(1), "a", "x").await?;
                    create(&tx, org(1), "b", "x").await?;
                    claimed.keep(&tx, Vec::new()).await?;
                }
                parta_mutations::finish(&tx).await
            })
            .await;
        // The operator has no organization, so the record names that of the events.
        let token = ConsistencyToken::decode(&token.unwrap(), &secrets())
            .unwrap()
            .unwrap();
        assert_eq!(token.org_id(), org(1));
        positions.push(token.positions()[0].position);
        add(db, org(1), &format!("c{}", positions.len()), "x").await;
    }
    // The repetition returns the current head, after the event that was appended in between.
    assert_eq!(positions, [2, 3]);
    let mut stream = watch(service(db), org(1), "").await.unwrap();
    assert_eq!(next_positions(&mut stream, 4).await.0, [1, 2, 3, 4]);
    assert_eq!(db.head(org(1)).await.unwrap().position, 4);
});
