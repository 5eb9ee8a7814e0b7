//! The purge of old events.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use parta_database::StorageError;
use parta_ids::TypedId as _;
use parta_testkit::{on_both, on_postgres};
use sea_orm::{ConnectionTrait as _, Statement};
use uuid::Uuid;

use crate::{
    school::{migrations, org, run},
    support::Store,
};

/// An import of a large school.
const EVENTS: i32 = 40_000;

// The effort of a purge grows with the number of old events, and not with its square.
on_both!(many_old_events_of_one_log_are_purged, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    let inserted: Result<(), StorageError> = db
        .write(|tx| async move {
            let sql = format!(
                "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {EVENTS}) \
                 INSERT INTO event (org_id, position, event_id, previous_id, occur_time, trace_parent, payload) \
                 SELECT $1, n, $2, $2, $3, '', $4 FROM number"
            );
            let values = vec![
                org(1).uuid().into(),
                Uuid::nil().into(),
                tx.now().into(),
                vec![0_u8; 100].into(),
            ];
            run(&tx, &sql, values).await
        })
        .await;
    inserted.unwrap();
    store
        .clock
        .advance(TimeDelta::days(parta_feed::RETENTION_DAYS) + TimeDelta::seconds(1));
    let begin = Instant::now();
    parta_feed::purge(db).await.unwrap();
    // Less than a second on a machine that is not busy.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let left = Statement::from_string(db.backend(), "SELECT COUNT(*) AS events FROM event");
    let left = db.conn().query_one_raw(left).await.unwrap().unwrap();
    assert_eq!(left.try_get::<i64>("", "events").unwrap(), 0);
});

// The time of an event is that of the begin of its transaction, so that it can be older than the one before.
on_both!(purge_leaves_no_hole, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    let positions = async || {
        let sql = "SELECT position FROM event ORDER BY position";
        let rows = db.conn().query_all_raw(Statement::from_string(db.backend(), sql));
        let rows = rows.await.unwrap();
        let all = rows.iter().map(|row| row.try_get::<i64>("", "position").unwrap());
        all.collect::<Vec<_>>()
    };
    // The third event began before the retention, and was committed after the second.
    for (position, days) in [(1, 31), (2, 29), (3, 31), (4, 1)] {
        let inserted: Result<(), StorageError> = db
            .write(|tx| async move {
                let sql = "INSERT INTO event (org_id, position, event_id, previous_id, occur_time, trace_parent, payload) \
                           VALUES ($1, $2, $3, $3, $4, '', $5)";
                let values = vec![
                    org(1).uuid().into(),
                    i64::from(position).into(),
                    Uuid::nil().into(),
                    (tx.now() - TimeDelta::days(days)).into(),
                    vec![0_u8].into(),
                ];
                run(&tx, sql, values).await
            })
            .await;
        inserted.unwrap();
    }
    parta_feed::purge(db).await.unwrap();
    assert_eq!(positions().await, [2, 3, 4]);
    store.clock.advance(TimeDelta::days(2));
    parta_feed::purge(db).await.unwrap();
    assert_eq!(positions().await, [4]);
});

on_postgres!(
    pulses_of_ended_replicas_are_purged,
    "no other process opens an SQLite file",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let db = &store.db;
        let (ended, living) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let inserted: Result<(), StorageError> = db
            .write(|tx| async move {
                let sql = "INSERT INTO feed_pulse (replica_id, pulse_time) VALUES ($1, $2)";
                let day_ago = tx.now() - TimeDelta::hours(25);
                run(&tx, sql, vec![ended.into(), day_ago.into()]).await?;
                run(&tx, sql, vec![living.into(), tx.now().into()]).await
            })
            .await;
        inserted.unwrap();
        parta_feed::purge(db).await.unwrap();
        let left = Statement::from_string(db.backend(), "SELECT replica_id FROM feed_pulse");
        let left = db.conn().query_all_raw(left).await.unwrap();
        let ids: Vec<Uuid> = left
            .iter()
            .map(|row| row.try_get("", "replica_id").unwrap())
            .collect();
        assert_eq!(ids, [living]);
    }
);
