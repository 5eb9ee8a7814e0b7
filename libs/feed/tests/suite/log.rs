//! Tests of the event log: positions come from a head row and are dense.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use chrono::TimeDelta;
use futures::{StreamExt, future::join_all};
use parta_access::{Caller, Principal};
use parta_database::{Db, StorageError};
use parta_feed::{Delivery, FeedClient, FeedItem, Source};
use parta_ids::TypedId;
use parta_mutations::{Claim, ConsistencyToken, Mutation};
use parta_proto_org_registry::OrgRegistryFeed;
use parta_testkit::{on_both, on_postgres};
use sea_orm::{ConnectionTrait, Statement};

use crate::{
    school::{add, create, migrations, org, run, service},
    support::{Store, secrets},
};

/// Returns the positions of the first `count` events after the cursor, as a client of the feed receives them.
async fn watch(db: &Db, cursor: &str, count: usize) -> (Vec<i64>, String) {
    let source: FeedClient<OrgRegistryFeed, _> = FeedClient::new(service(db));
    let mut stream = source.watch(cursor, None).await.unwrap();
    let (mut positions, mut last) = (Vec::new(), cursor.to_owned());
    while positions.len() < count {
        let Delivery { cursor, item } = stream.next().await.unwrap().unwrap();
        last = cursor;
        if let FeedItem::Event(event) = item {
            positions.push(event.position);
        }
    }
    (positions, last)
}

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
            let (seen, cursor) = watch(db, "", 1).await;
            drop(quick_done);
            (seen, cursor)
        };
        let (slow, (seen, cursor)) = tokio::join!(slow, quick);
        slow.unwrap();
        assert_eq!(seen, [1]);
        assert_eq!(
            watch(db, &cursor, 1).await.0,
            [2],
            "the event of the slow transaction has a later position"
        );
    }
);

// R43: with many concurrent writers, some of them rolled back, live readers receive every position once and
// in order.
on_both!(positions_are_dense_and_in_commit_order, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    let writers = join_all((0..8).map(|writer| async move {
        for n in 0..15 {
            let unit = format!("{writer}-{n}");
            let unit = &unit;
            let result: Result<(), StorageError> = db
                .write(|tx| async move {
                    create(&tx, org(writer), unit, "x").await?;
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
    let readers = join_all((0..3).map(|_| watch(db, "", 80)));
    let (_, readers) = tokio::join!(writers, readers);
    for (positions, _) in readers {
        assert_eq!(positions, (1..=80).collect::<Vec<_>>());
    }
});

// The bus may lose a hint, and a commit of another replica sends none here. The reader polls every second.
on_both!(lost_hint_is_covered_by_polling, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    let silently = async {
        // Written like a commit of another replica, so that no hint arrives here.
        let result: Result<(), StorageError> = db
            .write(|tx| async move {
                let head = tx.advance_head(1).await?;
                let sql = "INSERT INTO event (position, event_id, org_id, occur_time, trace_parent, payload) \
                               VALUES ($1, $2, $2, $3, '', $4)";
                let values = vec![
                    head.position.into(),
                    org(1).uuid().into(),
                    tx.now().into(),
                    Vec::<u8>::new().into(),
                ];
                run(&tx, sql, values).await
            })
            .await;
        result.unwrap();
    };
    let source: FeedClient<OrgRegistryFeed, _> = FeedClient::new(service(db));
    let mut stream = source.watch("", None).await.unwrap();
    assert!(matches!(
        stream.next().await.unwrap().unwrap().item,
        FeedItem::Checkpoint
    ));
    silently.await;
    assert!(
        matches!(stream.next().await.unwrap().unwrap().item, FeedItem::Event(event) if event.position == 1)
    );
});

// Events are kept for 30 days. The remaining positions are dense, and an expired cursor is refused so that
// the client reads a snapshot.
on_both!(
    old_events_are_purged_and_their_cursors_expire,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let db = &store.db;
        add(db, org(1), "a", "x").await;
        let (_, first_cursor) = watch(db, "", 1).await;
        add(db, org(1), "b", "x").await;
        let (_, second_cursor) = watch(db, &first_cursor, 1).await;
        store
            .clock
            .advance(TimeDelta::days(parta_feed::RETENTION_DAYS) + TimeDelta::seconds(1));
        add(db, org(1), "c", "x").await;
        parta_feed::purge(db).await.unwrap();

        assert_eq!(watch(db, &second_cursor, 1).await.0, [3]);
        let source: FeedClient<OrgRegistryFeed, _> = FeedClient::new(service(db));
        for expired in ["", first_cursor.as_str()] {
            let refused = source.watch(expired, None).await.err().unwrap();
            assert_eq!(refused.code(), tonic::Code::OutOfRange);
        }

        db.renew_incarnation().await.unwrap();
        let refused = source.watch(&second_cursor, None).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::OutOfRange);
    }
);

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
        let token = ConsistencyToken::decode(&token.unwrap(), &secrets()).unwrap();
        positions.push(token.marks()[0].position);
        add(db, org(1), &format!("c{}", positions.len()), "x").await;
    }
    // The repetition returns the current head, after the event that was appended in between.
    assert_eq!(positions, [2, 3]);
    assert_eq!(watch(db, "", 4).await.0, [1, 2, 3, 4]);
    assert_eq!(db.head().await.unwrap().position, 4);
});
