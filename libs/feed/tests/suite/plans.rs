//! A consumer and a source at 40,000 organizations read by keys: PostgreSQL counts the scans of each table.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use parta_database::{Db, StorageError};
use parta_testkit::on_postgres;
use sea_orm::{ConnectionTrait as _, Statement};

use crate::{
    many::insert_organizations,
    school::{Roster, add, caught_up, consumer, migrations, next_positions, org, run, service, start, watch},
    support::Store,
};

const ORGANIZATIONS: usize = 40_000;

async fn execute(db: &Db, sql: &'static str) {
    let done: Result<(), StorageError> = db.write(|tx| async move { run(&tx, sql, vec![]).await }).await;
    done.unwrap();
}

/// Returns how often a table was read as a whole, and by an index.
async fn scans(db: &Db, table: &str) -> (i64, i64) {
    let sql =
        "SELECT seq_scan, COALESCE(idx_scan, 0) AS idx_scan FROM pg_stat_user_tables WHERE relname = $1";
    let statement = Statement::from_sql_and_values(db.backend(), sql, [table.into()]);
    let row = db.conn().query_one_raw(statement).await.unwrap().unwrap();
    (
        row.try_get("", "seq_scan").unwrap(),
        row.try_get("", "idx_scan").unwrap(),
    )
}

// Pages of a log, heads of one organization, and cursors are found by their keys. Only the reading of all
// heads, once per second, and the cursors at the begin of a stream read a whole table.
on_postgres!(
    logs_and_cursors_are_found_by_their_keys,
    "SQLite has no counters of scans",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        insert_organizations(db, ORGANIZATIONS).await;
        // The consumer has applied the events of all but fifty.
        execute(
            db,
            "INSERT INTO feed_cursor (org_id, consumer, cursor, epoch, position, event_id, update_time) \
             SELECT h.org_id, 'test.roster', '', e.epoch, h.position, h.event_id, now() \
             FROM event_head h, event_epoch e WHERE h.org_id > '00000000-0000-0000-0000-000000000032'",
        )
        .await;
        db.writer().execute_unprepared("ANALYZE").await.unwrap();
        db.writer()
            .execute_unprepared("SELECT pg_stat_reset()")
            .await
            .unwrap();
        let began = std::time::Instant::now();
        let consumer = consumer(db, db, &roster);
        let running = start(&consumer);
        consumer.freshness().completed().await;
        let few: Vec<u128> = (1..=50).collect();
        for n in &few {
            add(db, org(*n + 100_000), "b", "x").await;
            add(db, org(*n), "b", "x").await;
        }
        caught_up(db, &consumer, &few).await;
        let mut log = watch(service(db), org(7), "").await.unwrap();
        assert_eq!(next_positions(&mut log, 2).await.0, [1, 2]);
        running.stop().await;
        let readings = i64::try_from(began.elapsed().as_secs()).unwrap() + 2;
        // The statistics of a connection arrive within a second after its last transaction.
        let found = parta_testkit::eventually("the statistics", async || {
            let found = [
                scans(db, "event").await,
                scans(db, "event_head").await,
                scans(db, "feed_cursor").await,
            ];
            found
                .iter()
                .all(|(_, by_index)| *by_index >= 100)
                .then_some(found)
        })
        .await;
        let [event, head, cursor] = found;
        assert_eq!(event.0, 0, "{found:?}");
        assert!(head.0 <= readings, "{found:?} in {readings} s");
        assert!(cursor.0 <= 1, "{found:?}");
    }
);
