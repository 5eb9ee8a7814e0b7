//! Many organizations with few events each.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::atomic::Ordering;

use parta_database::{Db, StorageError};
use parta_feed::EventPayload as _;
use parta_ids::TypedId as _;
use parta_testkit::{on_both, on_postgres, on_sqlite};
use prost::Message as _;
use sea_orm::{ConnectionTrait as _, Statement, Value};
use uuid::Uuid;

use crate::{
    school::{Roster, add, caught_up, consumer, created, migrations, org, run, start},
    support::Store,
};

/// Organizations of one statement.
const CHUNK: usize = 500;

/// Inserts organizations with one event each, as fast as the database can.
pub async fn insert_organizations(db: &Db, count: usize) {
    let payload = created("a", "x").into_event().encode_to_vec();
    let numbers: Vec<usize> = (1..=count).collect();
    for chunk in numbers.chunks(CHUNK) {
        let payload = &payload;
        let inserted: Result<(), StorageError> = db
            .write(|tx| async move {
                let mut values: Vec<Value> =
                    vec![Uuid::nil().into(), tx.now().into(), payload.clone().into()];
                let mut events = Vec::new();
                for n in chunk {
                    let n = u128::try_from(*n).unwrap();
                    events.push(format!(
                        "(${}, 1, ${}, $1, $2, '', $3)",
                        values.len() + 1,
                        values.len() + 2
                    ));
                    values.extend([org(n).uuid().into(), Uuid::from_u128(1 << 100 | n).into()]);
                }
                let sql = format!(
                    "INSERT INTO event (org_id, position, event_id, previous_id, occur_time, trace_parent, \
                     payload) VALUES {}",
                    events.join(", ")
                );
                run(&tx, &sql, values).await
            })
            .await;
        inserted.unwrap();
    }
    let inserted: Result<(), StorageError> = db
        .write(|tx| async move {
            for sql in [
                "INSERT INTO event_head (org_id, position, event_id, previous_id) \
                 SELECT org_id, position, event_id, previous_id FROM event",
                "INSERT INTO unit (org_id, unit_id, label) SELECT org_id, 'a', 'x' FROM event",
            ] {
                run(&tx, sql, vec![]).await?;
            }
            Ok(())
        })
        .await;
    inserted.unwrap();
}

/// Returns the number of rows that a query counts.
async fn count(db: &Db, sql: &str) -> i64 {
    let statement = Statement::from_string(db.backend(), sql);
    let row = db.conn().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

// The first heads of many organizations reach a consumer that begins from nothing, and each event is applied
// once.
on_both!(
    first_events_of_many_organizations_are_applied,
    |database| async move {
        const COUNT: usize = 2_000;
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        insert_organizations(db, COUNT).await;
        let consumer = consumer(db, db, &roster);
        let running = start(&consumer);
        consumer.freshness().completed().await;
        running.stop().await;
        let expected = i64::try_from(COUNT).unwrap();
        for sql in [
            "SELECT count(*) FROM applied",
            "SELECT count(*) FROM (SELECT DISTINCT org_id FROM applied) one",
            "SELECT count(*) FROM roster",
            "SELECT count(*) FROM feed_cursor WHERE position = 1",
        ] {
            assert_eq!(count(db, sql).await, expected, "{sql}");
        }
    }
);

// A commit of SQLite costs more than an event, and every other writer waits for it.
on_sqlite!(
    organizations_with_few_events_share_transactions,
    "PostgreSQL does not hold the locks of one organization while it waits for those of another",
    |database| async move {
        const COUNT: usize = 320;
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        insert_organizations(db, COUNT).await;
        let consumer = consumer(db, db, &roster);
        let running = start(&consumer);
        consumer.freshness().completed().await;
        running.stop().await;
        let commits = roster.commits.load(Ordering::SeqCst);
        assert!(commits < 320 / 4, "{commits} commits");
        assert_eq!(count(db, "SELECT count(*) FROM applied").await, 320);
    }
);

// One organization of a group fails. The others of the group are applied once, and it is quarantined.
on_both!(failing_organization_of_many_is_found, |database| async move {
    parta_testkit::logs().allow("organization quarantined");
    parta_testkit::logs().allow("replacing a projection by a snapshot");
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    roster.poison.lock().unwrap().insert("poison".into());
    roster.panic.lock().unwrap().insert("panic".into());
    let all: Vec<u128> = (1..=60).collect();
    for n in &all {
        let label = match n {
            7 => "poison",
            8 => "panic",
            _ => "good",
        };
        add(db, org(*n), "a", label).await;
    }
    let consumer = consumer(db, db, &roster);
    let running = start(&consumer);
    let good: Vec<u128> = all.into_iter().filter(|n| ![7, 8].contains(n)).collect();
    caught_up(db, &consumer, &good).await;
    consumer.freshness().completed().await;
    running.stop().await;
    assert_eq!(count(db, "SELECT count(*) FROM applied").await, 58);
    assert_eq!(
        count(
            db,
            "SELECT count(*) FROM (SELECT DISTINCT org_id FROM applied) one"
        )
        .await,
        58
    );
    assert_eq!(count(db, "SELECT count(*) FROM feed_quarantine").await, 2);
});

// An organization whose events wait for a lock of its own holds none of those that follow it.
on_postgres!(
    waiting_organization_holds_no_other_of_its_group,
    "SQLite has one writer",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        for n in 1..=40 {
            let label = if n % 13 == 0 { "held" } else { "free" };
            add(db, org(n), "a", label).await;
        }
        *roster.held_label.lock().unwrap() = Some("held".into());
        let consumer = consumer(db, db, &roster);
        let running = start(&consumer);
        // Three of four workers are held.
        let free: Vec<u128> = (1..=40).filter(|n| n % 13 != 0).collect();
        caught_up(db, &consumer, &free).await;
        *roster.held_label.lock().unwrap() = None;
        roster.opened.notify_waiters();
        caught_up(db, &consumer, &[13, 26, 39]).await;
        running.stop().await;
        assert_eq!(count(db, "SELECT count(*) FROM applied").await, 40);
    }
);
