//! The consumer applies events exactly once and in order.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::atomic::Ordering, time::Duration};

use parta_database::{Db, StorageError};
use parta_feed::{AtLeast, Freshness, HandleError, Progress, is_quarantined, list_quarantined};
use parta_ids::TypedId;
use parta_status::RpcError;
use parta_testkit::on_both;

use crate::{
    school::{Roster, add, applied, caught_up, consumer, migrations, org, rename, rows, run, start},
    support::{self, Store},
};

// Invariant 8: each event takes effect exactly once, across restarts at any moment and with several
// concurrent replicas.
on_both!(
    effects_happen_once_across_restarts_and_replicas,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        let writing = async {
            for n in 0..120 {
                add(db, org(n % 5), &format!("u{n}"), &format!("l{n}")).await;
            }
        };
        let restarting = |pause: u64| {
            let roster = &roster;
            async move {
                for round in 0..12 {
                    let running = start(&consumer(db, db, roster));
                    // Interrupted at different points; correctness depends on none of them.
                    tokio::time::sleep(Duration::from_millis(pause + 3 * round)).await;
                    running.stop().await;
                }
            }
        };
        tokio::join!(writing, restarting(5), restarting(11));
        let last = consumer(db, db, &roster);
        let running = start(&last);
        caught_up(db, &last).await;
        running.stop().await;
        assert_eq!(applied(db).await, (1..=120).collect::<Vec<_>>());
        assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
        assert_eq!(roster.snapshots.load(Ordering::SeqCst), 0);
    }
);

// A stored value that this build does not know affects one organization. A retry would stop all others.
#[test]
fn unknown_stored_value_fails_only_its_event() {
    parta_testkit::run(async {
        parta_testkit::logs().allow("a stored value is not known to this build");
        let refusal = RpcError::from(StorageError::unknown_value("unit.kind", 7));
        assert!(matches!(HandleError::from(refusal), HandleError::Failed(_)));
        parta_testkit::logs().allow("the database is unavailable");
        let refusal = RpcError::from(StorageError::Unavailable("stopping".into()));
        assert!(matches!(
            HandleError::from(refusal),
            HandleError::Storage(error) if error.is_transient()
        ));
    });
}

// An event that fails stops only its organization. After the release, waiting events are applied in order.
on_both!(
    failing_event_quarantines_its_organization_only,
    |database| async move {
        parta_testkit::logs().allow("organization quarantined");
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        roster.poison.lock().unwrap().insert("poison".into());
        roster.panic.lock().unwrap().insert("panic".into());
        let consumer = consumer(db, db, &roster);
        add(db, org(1), "a", "poison").await;
        add(db, org(2), "a", "good").await;
        add(db, org(3), "a", "panic").await;
        rename(db, org(1), "a", "later").await;
        let running = start(&consumer);
        caught_up(db, &consumer).await;
        add(db, org(2), "b", "good").await;
        rename(db, org(1), "a", "last").await;
        caught_up(db, &consumer).await;

        assert_eq!(
            rows(db, "roster")
                .await
                .iter()
                .map(|row| row.0)
                .collect::<Vec<_>>(),
            [org(2), org(2)]
        );
        let quarantined = list_quarantined(db.conn()).await.unwrap();
        let quarantined: Vec<_> = quarantined
            .iter()
            .map(|p| (p.org_id, p.position, p.reason.as_str()))
            .collect();
        assert_eq!(
            quarantined,
            [
                (org(1), 1, "poison is poison"),
                (org(3), 3, "the handler panicked")
            ]
        );
        assert!(is_quarantined(db.conn(), "test.roster", org(1)).await.unwrap());
        assert!(!is_quarantined(db.conn(), "test.roster", org(2)).await.unwrap());

        // The event still fails: an early release changes nothing.
        let early = consumer.release(org(1)).await.unwrap_err();
        assert!(early.to_string().contains("poison"));
        assert!(is_quarantined(db.conn(), "test.roster", org(1)).await.unwrap());

        roster.poison.lock().unwrap().clear();
        roster.panic.lock().unwrap().clear();
        consumer.release(org(1)).await.unwrap();
        consumer.release(org(3)).await.unwrap();
        running.stop().await;
        assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
        assert_eq!(applied(db).await, [1, 2, 3, 4, 5, 6]);
        assert!(list_quarantined(db.conn()).await.unwrap().is_empty());
    }
);

// Invariant 8: a projection rebuilt from a snapshot equals the live one. Rows absent from the snapshot are
// deleted.
on_both!(expired_cursor_leads_to_a_snapshot, |database| async move {
    parta_testkit::logs().allow("organization quarantined");
    parta_testkit::logs().allow("rebuilding the projection from a snapshot");
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    let consumer = consumer(db, db, &roster);
    roster.poison.lock().unwrap().insert("poison".into());
    add(db, org(1), "a", "x").await;
    add(db, org(1), "lost", "x").await;
    add(db, org(2), "a", "poison").await;
    let running = start(&consumer);
    caught_up(db, &consumer).await;
    running.stop().await;
    assert!(is_quarantined(db.conn(), "test.roster", org(2)).await.unwrap());

    // A restore that lost one unit and its event, and contains another unit.
    let restore: Result<(), StorageError> = db
        .write(|tx| async move {
            run(&tx, "DELETE FROM unit WHERE unit_id = 'lost'", vec![]).await?;
            let sql = "INSERT INTO unit (org_id, unit_id, label) VALUES ($1, 'found', 'x')";
            run(&tx, sql, vec![org(2).uuid().into()]).await?;
            run(
                &tx,
                "UPDATE unit SET label = 'cured' WHERE label = 'poison'",
                vec![],
            )
            .await
        })
        .await;
    restore.unwrap();
    db.renew_incarnation().await.unwrap();
    add(db, org(1), "new", "x").await;

    let running = start(&consumer);
    caught_up(db, &consumer).await;
    add(db, org(1), "newer", "x").await;
    caught_up(db, &consumer).await;
    running.stop().await;
    assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
    assert_eq!(roster.snapshots.load(Ordering::SeqCst), 1);
    assert!(list_quarantined(db.conn()).await.unwrap().is_empty());
});

// Dense positions let a consumer detect a lost event. It does not continue after a gap.
on_both!(gap_leads_to_a_snapshot, |database| async move {
    parta_testkit::logs().allow("rebuilding the projection from a snapshot");
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    for unit in ["a", "b", "c"] {
        add(db, org(1), unit, "x").await;
    }
    let lose: Result<(), StorageError> = db
        .write(|tx| async move { run(&tx, "DELETE FROM event WHERE position = 2", vec![]).await })
        .await;
    lose.unwrap();
    let consumer = consumer(db, db, &roster);
    let running = start(&consumer);
    caught_up(db, &consumer).await;
    running.stop().await;
    assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
    assert_eq!(roster.snapshots.load(Ordering::SeqCst), 1);
});

// A consumer of an unavailable database retries and changes nothing. No decision uses its projection.
on_both!(unavailable_projection_is_stale, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    let consumer = consumer(db, db, &roster);
    let freshness = consumer.freshness();
    assert_eq!(freshness.require().unwrap_err().reason(), "PROJECTION_STALE");
    let running = start(&consumer);
    add(db, org(1), "a", "x").await;
    caught_up(db, &consumer).await;
    while freshness.progress().checkpoint.is_none() {
        tokio::task::yield_now().await;
    }
    freshness.require().unwrap();
    running.stop().await;
});

#[test]
fn projection_is_stale_after_thirty_seconds() {
    let require_after = |ago| {
        let checkpoint = tokio::time::Instant::now().checked_sub(Duration::from_secs(ago));
        Freshness::fixed(
            "membership",
            Progress {
                cursor: None,
                checkpoint,
            },
        )
        .require()
    };
    require_after(25).unwrap();
    assert_eq!(require_after(31).unwrap_err().code(), tonic::Code::Unavailable);
}

async fn token(db: &Db) -> String {
    let head = db.head().await.unwrap();
    let position = parta_mutations::ServicePosition {
        service: "org-registry".into(),
        incarnation: head.incarnation,
        position: head.position,
    };
    parta_mutations::ConsistencyToken::new([position]).encode(&support::secrets())
}

// Invariant 5: a caller that presents the token of a change never reads an earlier state.
on_both!(token_waits_for_the_projection, |database| async move {
    parta_testkit::logs().allow("rebuilding the projection from a snapshot");
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    let consumer = consumer(db, db, &roster);
    let at_least = AtLeast::new(db.clone(), [consumer.freshness()]);
    at_least.wait("").await.unwrap();
    assert_eq!(
        at_least.wait("forged").await.unwrap_err().code(),
        tonic::Code::InvalidArgument
    );

    add(db, org(1), "a", "x").await;
    let token = token(db).await;
    // The wait needs no database, so it can end at once on a runtime whose timers do not wait.
    let (waits, of) = (at_least.clone(), token.clone());
    let paused = move || parta_testkit::run_paused(async move { waits.wait(&of).await });
    let behind = std::thread::spawn(paused).join().unwrap().unwrap_err();
    assert_eq!(behind.reason(), "BEHIND_CONSISTENCY_TOKEN");

    let (waiting, running) = tokio::join!(at_least.wait(&token), async { start(&consumer) });
    waiting.unwrap();
    assert_eq!(rows(db, "roster").await.len(), 1);
    running.stop().await;

    // A token of a service that is not consumed, or of an earlier incarnation, requires no wait.
    AtLeast::new(db.clone(), []).wait(&token).await.unwrap();
    db.renew_incarnation().await.unwrap();
    let running = start(&consumer);
    caught_up(db, &consumer).await;
    at_least.wait(&token).await.unwrap();
    running.stop().await;
});
