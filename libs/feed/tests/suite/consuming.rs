//! The consumer applies events exactly once and in order.

use std::{sync::atomic::Ordering, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use parta_database::{Db, StorageError};
use parta_feed::{AtLeast, Consumer, EventPage, FeedClient, Freshness, HandleError, SnapshotItem, Source};
use parta_ids::OrgId;
use parta_proto::HeadStream;
use parta_proto_org_registry::{OrgRegistryFeed, v1::OrgRegistryEvent};
use parta_status::RpcError;
use parta_testkit::{on_both, on_postgres};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    school::{
        Roster, WithCaller, add, after_steps, another_replica, applied, caught_up, consumer, migrations, org,
        position, rebuild, restore, rows, run, service, start,
    },
    support::{self, Store},
};

// Invariant 8: each event takes effect exactly once, across restarts at any moment and with several
// concurrent replicas.
on_both!(
    effects_happen_once_across_restarts_and_replicas,
    |database| async move {
        // A consumer that is stopped in the middle of a BEGIN rolls back what has not begun.
        parta_testkit::logs().allow("there is no transaction in progress");
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
        caught_up(db, &last, &[0, 1, 2, 3, 4]).await;
        running.stop().await;
        for n in 0..5 {
            assert_eq!(applied(db, org(n)).await, (1..=24).collect::<Vec<_>>());
        }
        assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
        assert_eq!(roster.snapshots.load(Ordering::SeqCst), 0);
    }
);

// Two processes that follow the same feed share the work of many organizations.
on_postgres!(
    two_replicas_apply_each_event_once,
    "SQLite has one process",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        let other = another_replica(&store, &database).await;
        let consumers = [consumer(db, db, &roster), consumer(db, &other, &roster)];
        let running = consumers.each_ref().map(start);
        for n in 0..60 {
            add(db, org(n % 6), &format!("u{n}"), "x").await;
        }
        for one in &consumers {
            caught_up(db, one, &[0, 1, 2, 3, 4, 5]).await;
        }
        for one in running {
            one.stop().await;
        }
        for n in 0..6 {
            assert_eq!(applied(db, org(n)).await, (1..=10).collect::<Vec<_>>());
        }
        assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
    }
);

// A stored value that this build does not know affects one organization. A retry would not cure it.
#[test]
fn unknown_stored_value_is_no_temporary_failure() {
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

// Dense positions let the source detect a lost event. The consumer does not continue after a gap.
on_both!(gap_leads_to_a_snapshot, |database| async move {
    parta_testkit::logs().allow("replacing a projection by a snapshot");
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    for unit in ["a", "b", "c"] {
        add(db, org(1), unit, "x").await;
    }
    let lose: Result<(), StorageError> = db
        .write(|tx| async move { run(&tx, "DELETE FROM event WHERE position = 1", vec![]).await })
        .await;
    lose.unwrap();
    let consumer = consumer(db, db, &roster);
    let running = start(&consumer);
    caught_up(db, &consumer, &[1]).await;
    running.stop().await;
    assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
    assert_eq!(roster.snapshots.load(Ordering::SeqCst), 1);
});

// Before a consumer has caught up, no decision uses its projection; afterwards each organization is as fresh
// as the last heartbeat, also one that the source does not know.
on_both!(projection_is_stale_until_it_is_complete, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    let consumer = consumer(db, db, &roster);
    let freshness = consumer.freshness();
    let stale = freshness.require(org(1)).unwrap_err();
    assert_eq!(
        (stale.reason(), stale.code()),
        ("PROJECTION_STALE", tonic::Code::Unavailable)
    );
    assert!(!freshness.is_complete());
    add(db, org(1), "a", "x").await;
    let running = start(&consumer);
    freshness.completed().await;
    freshness.require(org(1)).unwrap();
    freshness.require(org(2)).unwrap();
    running.stop().await;
    Freshness::always("test").require(org(3)).unwrap();
});

async fn token(db: &Db, n: u128) -> String {
    let position = position(db, org(n)).await;
    parta_mutations::ConsistencyToken::new(org(n), [position]).encode(&support::secrets())
}

// Invariant 5: a caller that presents the token of a change never reads an earlier state.
on_both!(token_waits_for_the_projection, |database| async move {
    for expected in [
        "replacing a projection by a snapshot",
        "the source has lost events",
    ] {
        parta_testkit::logs().allow(expected);
    }
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
    let of_one = token(db, 1).await;
    // The wait needs no database, so it can end at once on a runtime whose timers do not wait.
    let (waits, of) = (at_least.clone(), of_one.clone());
    let paused = move || parta_testkit::run_paused(async move { waits.wait(&of).await });
    let behind = std::thread::spawn(paused).join().unwrap().unwrap_err();
    assert_eq!(behind.reason(), "BEHIND_CONSISTENCY_TOKEN");

    let (waiting, running) = tokio::join!(at_least.wait(&of_one), async { start(&consumer) });
    waiting.unwrap();
    assert_eq!(rows(db, "roster").await.len(), 1);

    // A token of a service that is not consumed requires no wait, and neither does a position that the log
    // has lost, once the operator has requested a snapshot, or that belongs to an earlier epoch.
    AtLeast::new(db.clone(), []).wait(&of_one).await.unwrap();
    let backup = db.head(org(1)).await.unwrap();
    add(db, org(1), "lost", "x").await;
    let lost = token(db, 1).await;
    caught_up(db, &consumer, &[1]).await;
    running.stop().await;
    restore(db, org(1), backup).await;
    rebuild(db, org(1)).await;
    let second = crate::school::consumer(db, db, &roster);
    let running = start(&second);
    second.freshness().completed().await;
    let at_least = AtLeast::new(db.clone(), [second.freshness()]);
    after_steps(&second, async || at_least.wait(&lost).await.ok()).await;
    running.stop().await;
    db.expire_cursors().await.unwrap();
    let third = crate::school::consumer(db, db, &roster);
    let running = start(&third);
    caught_up(db, &third, &[1]).await;
    let at_least = AtLeast::new(db.clone(), [third.freshness()]);
    at_least.wait(&of_one).await.unwrap();
    running.stop().await;
});

// A source that was restored may be in an earlier epoch than its consumers have read: the number of the epoch
// and the position of the cursor do not prove that a change of the restored source was applied.
on_both!(token_of_a_restored_epoch_waits, |database| async move {
    parta_testkit::logs().allow("replacing a projection by a snapshot");
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    add(db, org(1), "a", "x").await;
    let restored = db.epoch().await.unwrap();
    db.expire_cursors().await.unwrap();
    let first = consumer(db, db, &roster);
    let running = start(&first);
    caught_up(db, &first, &[1]).await;
    running.stop().await;
    let back: Result<(), StorageError> = db
        .write(|tx| async move { run(&tx, "UPDATE event_epoch SET epoch = $1", vec![restored.into()]).await })
        .await;
    back.unwrap();
    add(db, org(1), "b", "x").await;
    let (at_least, of) = (AtLeast::new(db.clone(), [first.freshness()]), token(db, 1).await);
    // The wait needs no database, so it can end at once on a runtime whose timers do not wait.
    let (waits, token) = (at_least.clone(), of.clone());
    let paused = move || parta_testkit::run_paused(async move { waits.wait(&token).await });
    let behind = std::thread::spawn(paused).join().unwrap().unwrap_err();
    assert_eq!(behind.reason(), "BEHIND_CONSISTENCY_TOKEN");
    let running = start(&first);
    caught_up(db, &first, &[1]).await;
    at_least.wait(&of).await.unwrap();
    assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
    running.stop().await;
});

/// A source whose snapshots of some organizations never begin.
struct Silent(FeedClient<OrgRegistryFeed, WithCaller>, Vec<OrgId>);

#[async_trait]
impl Source for Silent {
    type Event = OrgRegistryEvent;

    fn service(&self) -> &'static str {
        self.0.service()
    }

    async fn watch_heads(&self) -> Result<HeadStream, Status> {
        self.0.watch_heads().await
    }

    async fn read(
        &self,
        org_id: OrgId,
        cursor: &str,
        limit: i32,
    ) -> Result<EventPage<OrgRegistryEvent>, Status> {
        self.0.read(org_id, cursor, limit).await
    }

    async fn snapshot(
        &self,
        org_id: OrgId,
    ) -> Result<BoxStream<'static, Result<SnapshotItem<OrgRegistryEvent>, Status>>, Status> {
        if self.1.contains(&org_id) {
            std::future::pending::<()>().await;
        }
        self.0.snapshot(org_id).await
    }
}

// Snapshots that never arrive do not delay the events of other organizations.
on_both!(
    silent_snapshots_hold_no_other_organization,
    |database| async move {
        parta_testkit::logs().allow("replacing a projection by a snapshot");
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        roster.poison.lock().unwrap().insert("poison".into());
        let silent: Vec<OrgId> = (1..=6).map(org).collect();
        let source = Silent(FeedClient::new(service(db)), silent.clone());
        let consumer = Consumer::new("test.roster", db.clone(), source, roster.clone());
        for org_id in &silent {
            add(db, *org_id, "a", "poison").await;
        }
        let cancel = CancellationToken::new();
        let others = async {
            // More organizations wait for a snapshot than there are workers.
            for n in 7..12 {
                add(db, org(n), "a", "good").await;
                let position = position(db, org(n)).await;
                consumer.freshness().reach(org(n), &position).await.unwrap();
            }
            cancel.cancel();
        };
        tokio::join!(consumer.run(cancel.clone()), others);
    }
);

// The first batch of an organization does not wait for another replica that applies it.
on_postgres!(
    first_batch_waits_for_no_other_replica,
    "SQLite has one process",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        let other = another_replica(&store, &database).await;
        for n in 1..=4 {
            add(db, org(n), "a", "held").await;
        }
        let held = consumer(db, db, &roster);
        let (held_label, mut holding) = (roster.held_label.clone(), roster.held.subscribe());
        *held_label.lock().unwrap() = Some("held".into());
        let first = start(&held);
        holding.wait_for(|held| *held == 4).await.unwrap();
        // All workers of the first replica hold a first batch.
        let second = consumer(db, &other, &Roster::default());
        let running = start(&second);
        add(db, org(5), "a", "free").await;
        tokio::time::timeout(Duration::from_secs(8), caught_up(db, &second, &[5]))
            .await
            .unwrap();
        *held_label.lock().unwrap() = None;
        roster.opened.notify_waiters();
        caught_up(db, &held, &[1, 2, 3, 4]).await;
        running.stop().await;
        first.stop().await;
        assert_eq!(rows(db, "roster").await, rows(db, "unit").await);
    }
);
