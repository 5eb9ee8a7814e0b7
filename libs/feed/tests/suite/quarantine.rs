//! Organizations whose events cannot be applied, and what the operator does about them.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{sync::atomic::Ordering, time::Duration};

use parta_database::{Db, StorageError};
use parta_feed::list_quarantined;
use parta_ids::{EventId, OrgId, TypedId};
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait as _, Statement};

use crate::{
    school::{
        Roster, add, after_steps, applied, caught_up, consumer, equal_to_source, migrations, org,
        quarantined, rebuild, release, rows, run, start,
    },
    support::Store,
};

// Events that fail, in the log and in a snapshot, stop only their organization. After the release they are
// applied in order.
on_both!(
    failing_events_quarantine_their_organization_only,
    |database| async move {
        parta_testkit::logs().allow("organization quarantined");
        parta_testkit::logs().allow("replacing a projection by a snapshot");
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        roster.poison.lock().unwrap().insert("poison".into());
        roster.panic.lock().unwrap().insert("panic".into());
        let consumer = consumer(db, db, &roster);
        let freshness = consumer.freshness();
        add(db, org(1), "a", "poison").await;
        add(db, org(2), "a", "good").await;
        add(db, org(3), "a", "panic").await;
        let running = start(&consumer);
        freshness.completed().await;
        caught_up(db, &consumer, &[2]).await;
        add(db, org(2), "b", "good").await;
        add(db, org(1), "b", "good").await;
        caught_up(db, &consumer, &[2]).await;
        freshness.require(org(2)).unwrap();
        for n in [1, 3] {
            let refused = freshness.require(org(n)).unwrap_err();
            assert_eq!(refused.reason(), "ORGANIZATION_QUARANTINED", "{n}");
        }

        let organizations: Vec<_> = rows(db, "roster").await.iter().map(|row| row.0).collect();
        assert_eq!(organizations, [org(2), org(2)]);
        let quarantined = list_quarantined(db.conn(), None, 10).await.unwrap();
        let quarantined: Vec<_> = quarantined
            .iter()
            .map(|p| (p.org_id, p.position, p.event_failure.as_str()))
            .collect();
        assert_eq!(
            quarantined,
            [
                (org(1), 0, "poison is poison"),
                (org(3), 0, "the handler panicked")
            ]
        );

        // The events still fail: an early release leads to another quarantine.
        assert!(release(db, org(1)).await.unwrap());
        after_steps(&consumer, async || {
            let all = list_quarantined(db.conn(), None, 10).await.unwrap();
            (all.len() == 2).then_some(())
        })
        .await;

        roster.poison.lock().unwrap().clear();
        roster.panic.lock().unwrap().clear();
        for n in [1, 3] {
            assert!(release(db, org(n)).await.unwrap());
        }
        assert!(!release(db, org(2)).await.unwrap());
        caught_up(db, &consumer, &[1, 3]).await;
        freshness.require(org(1)).unwrap();
        running.stop().await;
        assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
        assert_eq!(applied(db, org(1)).await, [1, 2]);
        assert!(list_quarantined(db.conn(), None, 10).await.unwrap().is_empty());
    }
);

// Case 10: an event that cannot be decoded. Its organization continues by a snapshot, the others do not
// notice.
on_both!(undecodable_event_leads_to_a_snapshot, |database| async move {
    parta_testkit::logs().allow("replacing a projection by a snapshot");
    parta_testkit::logs().allow("an internal error");
    parta_testkit::logs().allow("failed to decode");
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    for n in [1, 2] {
        add(db, org(n), "a", "x").await;
    }
    let garble: Result<(), StorageError> = db
        .write(|tx| async move {
            let sql = "UPDATE event SET payload = $2 WHERE org_id = $1";
            run(&tx, sql, vec![org(1).uuid().into(), vec![0xff_u8; 3].into()]).await
        })
        .await;
    garble.unwrap();
    let consumer = consumer(db, db, &roster);
    let running = start(&consumer);
    caught_up(db, &consumer, &[1, 2]).await;
    add(db, org(1), "b", "x").await;
    caught_up(db, &consumer, &[1]).await;
    running.stop().await;
    assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
    assert_eq!(roster.snapshots.load(Ordering::SeqCst), 1);
    assert!(list_quarantined(db.conn(), None, 10).await.unwrap().is_empty());
});

async fn skip(db: &Db, org_id: OrgId, event_id: EventId) {
    let skipped: Result<(), StorageError> = db
        .write(|tx| async move { parta_feed::skip(&tx, org_id, "test.roster", event_id).await })
        .await;
    skipped.unwrap();
}

async fn change(db: &Db, sql: &str) {
    let changed: Result<(), StorageError> = db.write(|tx| async move { run(&tx, sql, vec![]).await }).await;
    changed.unwrap();
}

/// Returns a column of the only row of a table.
async fn text_of(db: &Db, column: &str, table: &str) -> String {
    let statement = Statement::from_string(db.backend(), format!("SELECT {column} FROM {table}"));
    let row = db.conn().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", column).unwrap()
}

// One event among many fails: those before it are applied, and the quarantine names it. After it is skipped,
// those behind it are applied, and the effect of the skipped one is missing until a snapshot can be applied.
on_both!(quarantine_names_the_event_and_skips_it, |database| async move {
    for expected in [
        "organization quarantined",
        "replacing a projection by a snapshot",
        "event skipped",
        "the snapshot after a skipped event failed",
    ] {
        parta_testkit::logs().allow(expected);
    }
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    roster.poison.lock().unwrap().insert("poison".into());
    for n in 0..20 {
        add(
            db,
            org(1),
            &format!("u{n:02}"),
            if n == 13 { "poison" } else { "good" },
        )
        .await;
    }
    let consumer = consumer(db, db, &roster);
    let running = start(&consumer);
    let found = quarantined(db, &consumer, org(1)).await;
    assert_eq!((found.position, found.event_kind.as_str()), (13, "UnitCreated"));
    assert_eq!(
        (found.event_failure.as_str(), found.snapshot_failure.as_str()),
        ("poison is poison", "poison is poison")
    );
    assert_eq!(applied(db, org(1)).await, (1..=13).collect::<Vec<_>>());

    // Another event than the next one is not skipped.
    skip(db, org(1), EventId::from_uuid(parta_ids::Uuid::from_u128(7))).await;
    add(db, org(2), "a", "good").await;
    caught_up(db, &consumer, &[2]).await;
    assert_eq!(applied(db, org(1)).await.len(), 13);

    skip(db, org(1), found.event_id.unwrap()).await;
    caught_up(db, &consumer, &[1]).await;
    consumer.freshness().require(org(1)).unwrap();
    let positions: Vec<i64> = (1..=20).filter(|position| *position != 14).collect();
    assert_eq!(applied(db, org(1)).await, positions);
    assert!(list_quarantined(db.conn(), None, 10).await.unwrap().is_empty());
    assert_eq!(rows(db, "roster").await.len(), 20, "the skipped unit is missing");

    roster.poison.lock().unwrap().clear();
    assert!(rebuild(db, org(1)).await);
    assert!(!rebuild(db, org(3)).await, "the consumer does not know it");
    equal_to_source(db, &consumer).await;
    running.stop().await;
});

/// Quarantines the first organization, as if another build had failed. Returns the name of this build.
async fn quarantine_by_an_older_build(db: &Db, roster: &Roster) -> String {
    roster.poison.lock().unwrap().insert("poison".into());
    add(db, org(1), "a", "poison").await;
    let first = consumer(db, db, roster);
    let running = start(&first);
    quarantined(db, &first, org(1)).await;
    running.stop().await;
    let own = text_of(db, "builds", "feed_quarantine").await;
    change(db, "UPDATE feed_quarantine SET builds = 'older'").await;
    own
}

// The handler of a newer build may be able to apply the events: it tries once by itself, and not again.
on_both!(new_build_retries_a_quarantine_once, |database| async move {
    parta_testkit::logs().allow("organization quarantined");
    parta_testkit::logs().allow("replacing a projection by a snapshot");
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    let own = quarantine_by_an_older_build(db, &roster).await;

    let attempts = roster.snapshots.load(Ordering::SeqCst);
    let second = consumer(db, db, &roster);
    let running = start(&second);
    let changed = async || text_of(db, "builds", "feed_quarantine").await != "older";
    after_steps(&second, async || changed().await.then_some(())).await;
    running.stop().await;
    assert_eq!(
        text_of(db, "builds", "feed_quarantine").await,
        format!("older {own}")
    );
    // After a restart the consumer looks at the quarantine again, and does not try again.
    let third = consumer(db, db, &roster);
    let running = start(&third);
    let freshness = third.freshness();
    after_steps(&third, async || {
        let refused = freshness.require(org(1)).err()?;
        (refused.reason() == "ORGANIZATION_QUARANTINED").then_some(())
    })
    .await;
    assert_eq!(roster.snapshots.load(Ordering::SeqCst), attempts + 1);
    running.stop().await;
});

on_both!(
    build_that_applies_the_event_ends_the_quarantine,
    |database| async move {
        parta_testkit::logs().allow("organization quarantined");
        parta_testkit::logs().allow("replacing a projection by a snapshot");
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        quarantine_by_an_older_build(db, &roster).await;
        roster.poison.lock().unwrap().clear();

        let snapshots = roster.snapshots.load(Ordering::SeqCst);
        let second = consumer(db, db, &roster);
        let running = start(&second);
        caught_up(db, &second, &[1]).await;
        running.stop().await;
        assert_eq!(roster.snapshots.load(Ordering::SeqCst), snapshots);
        assert!(list_quarantined(db.conn(), None, 10).await.unwrap().is_empty());
    }
);

// An event of a kind that this build does not know is recorded. The build that knows it takes a snapshot.
on_both!(
    unknown_kind_leads_a_newer_build_to_a_snapshot,
    |database| async move {
        parta_testkit::logs().allow("replacing a projection by a snapshot");
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        add(db, org(1), "a", "x").await;
        // Field 500 of the event.
        let unknown: Result<(), StorageError> = db
            .write(|tx| async move {
                let sql = "UPDATE event SET payload = $1";
                run(&tx, sql, vec![vec![0xa0_u8, 0x1f, 0x01].into()]).await
            })
            .await;
        unknown.unwrap();
        let consumer = consumer(db, db, &roster);
        let running = start(&consumer);
        caught_up(db, &consumer, &[1]).await;
        assert!(rows(db, "roster").await.is_empty());
        assert!(!text_of(db, "unknown_build", "feed_cursor").await.is_empty());
        add(db, org(1), "b", "x").await;
        caught_up(db, &consumer, &[1]).await;
        assert_eq!(roster.snapshots.load(Ordering::SeqCst), 0, "the same build");

        // A worker that has loaded the cursor before the change would apply the next event without a
        // snapshot.
        running.stop().await;
        change(db, "UPDATE feed_cursor SET unknown_build = 'older'").await;
        add(db, org(1), "c", "x").await;
        let newer = self::consumer(db, db, &roster);
        let running = start(&newer);
        caught_up(db, &newer, &[1]).await;
        running.stop().await;
        assert_eq!(roster.snapshots.load(Ordering::SeqCst), 1);
        assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
        assert_eq!(text_of(db, "unknown_build", "feed_cursor").await, "");
    }
);

// After a rollback the cursor may hold a request of a newer build. The older build must not drop it.
on_both!(request_of_a_newer_build_is_kept, |database| async move {
    parta_testkit::logs().allow("events not applied");
    parta_testkit::logs().allow("replacing a projection by a snapshot");
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    add(db, org(1), "a", "x").await;
    let first = consumer(db, db, &roster);
    let running = start(&first);
    caught_up(db, &first, &[1]).await;
    running.stop().await;

    change(db, "UPDATE feed_cursor SET request = 9").await;
    let second = consumer(db, db, &roster);
    let running = start(&second);
    let refused = parta_testkit::logs();
    let refused = refused.until("feed_cursor.request holds 9");
    tokio::time::timeout(Duration::from_secs(20), refused)
        .await
        .unwrap();
    // Other organizations continue.
    add(db, org(2), "a", "x").await;
    caught_up(db, &second, &[2]).await;
    let kept = text_of(db, "consumer", "feed_cursor WHERE request = 9").await;
    assert_eq!(kept, "test.roster");

    // The newer build would carry it out: here it is a request that this build knows.
    change(db, "UPDATE feed_cursor SET request = 1 WHERE request = 9").await;
    let carried_out = || roster.snapshots.load(Ordering::SeqCst) > 0;
    after_steps(&second, async || carried_out().then_some(())).await;
    running.stop().await;
    assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
});
