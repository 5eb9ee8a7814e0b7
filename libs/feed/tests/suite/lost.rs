//! A source that has lost events which were applied here: a database that was restored, or promoted in a
//! failover. Its state may grant what the lost events have ended, so that nothing is applied.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use parta_database::{Db, LogHead, StorageError};
use parta_feed::{Consumer, EventPage, FeedClient, Freshness, SnapshotItem, Source, list_quarantined};
use parta_ids::{OrgId, TypedId as _};
use parta_proto::HeadStream;
use parta_proto_org_registry::{OrgRegistryFeed, v1::OrgRegistryEvent};
use parta_testkit::on_both;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    school::{
        Roster, WithCaller, add, after_steps, caught_up, consumer, equal_to_source, migrations, org,
        quarantined, rebuild, release, rename, restore, rows, run, service, start,
    },
    support::Store,
};

const LOST: &str = "the source has lost events that were applied here";

/// Removes the unit `lost` and the events after a head.
async fn lose(db: &Db, org_id: OrgId, backup: LogHead) {
    let forget: Result<(), StorageError> = db
        .write(|tx| async move { run(&tx, "DELETE FROM unit WHERE unit_id = 'lost'", vec![]).await })
        .await;
    forget.unwrap();
    restore(db, org_id, backup).await;
}

fn allow() {
    for expected in [
        "replacing a projection by a snapshot",
        "the source has lost events",
    ] {
        parta_testkit::logs().allow(expected);
    }
}

async fn labels(db: &Db, org_id: OrgId) -> Vec<String> {
    let all = rows(db, "roster").await.into_iter();
    all.filter(|(of, ..)| *of == org_id)
        .map(|(_, unit, _)| unit)
        .collect()
}

fn refused(freshness: &Freshness, org_id: OrgId) -> String {
    freshness.require(org_id).unwrap_err().reason().to_owned()
}

// The source writes another event in the place of the lost one while the consumer runs. The organization is
// closed and keeps what the lost event has brought, until the operator requests a snapshot. Another
// organization continues.
on_both!(
    lost_event_holds_until_a_snapshot_is_requested,
    |database| async move {
        allow();
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        let consumer = consumer(db, db, &roster);
        let freshness = consumer.freshness();
        add(db, org(1), "a", "x").await;
        let backup = db.head(org(1)).await.unwrap();
        add(db, org(1), "lost", "x").await;
        add(db, org(2), "a", "x").await;
        let running = start(&consumer);
        caught_up(db, &consumer, &[1, 2]).await;
        freshness.require(org(1)).unwrap();

        lose(db, org(1), backup).await;
        add(db, org(1), "new", "x").await;
        let held = quarantined(db, &consumer, org(1)).await;
        assert_eq!((held.position, held.event_failure.as_str()), (2, LOST));
        assert!(held.event_id.is_none(), "no event can be skipped");
        add(db, org(1), "newer", "x").await;
        rename(db, org(2), "a", "y").await;
        caught_up(db, &consumer, &[2]).await;
        // The operator who only tries again changes nothing.
        assert!(release(db, org(1)).await.unwrap());
        quarantined(db, &consumer, org(1)).await;
        after_steps(&consumer, async || {
            (refused(&freshness, org(1)) == "ORGANIZATION_QUARANTINED").then_some(())
        })
        .await;
        freshness.require(org(2)).unwrap();
        assert_eq!(labels(db, org(1)).await, ["a", "lost"]);
        assert_eq!(roster.snapshots.load(Ordering::SeqCst), 0);

        assert!(rebuild(db, org(1)).await);
        equal_to_source(db, &consumer).await;
        caught_up(db, &consumer, &[1]).await;
        freshness.require(org(1)).unwrap();
        add(db, org(1), "newest", "x").await;
        equal_to_source(db, &consumer).await;
        running.stop().await;
        assert_eq!(labels(db, org(1)).await, ["a", "new", "newer", "newest"]);
        assert_eq!(roster.snapshots.load(Ordering::SeqCst), 1);
        assert!(list_quarantined(db.conn(), None, 10).await.unwrap().is_empty());
    }
);

// A source that stands before the cursor and writes nothing is noticed as well, also by a consumer that
// starts later, and in more organizations than a fault of a build may quarantine.
on_both!(
    source_behind_the_cursor_holds_every_organization,
    |database| async move {
        allow();
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        let mut backups = Vec::new();
        for n in 1..=8 {
            add(db, org(n), "a", "x").await;
            backups.push((org(n), db.head(org(n)).await.unwrap()));
            add(db, org(n), "lost", "x").await;
        }
        let first = consumer(db, db, &roster);
        let running = start(&first);
        caught_up(db, &first, &(1..=8).collect::<Vec<_>>()).await;
        running.stop().await;
        for (org_id, backup) in backups {
            lose(db, org_id, backup).await;
        }
        let second = consumer(db, db, &roster);
        let running = start(&second);
        after_steps(&second, async || {
            let all = list_quarantined(db.conn(), None, 10).await.unwrap();
            (all.len() == 8 && all.iter().all(|one| one.event_failure == LOST)).then_some(())
        })
        .await;
        running.stop().await;
        assert_eq!(labels(db, org(8)).await, ["a", "lost"]);
        assert_eq!(roster.snapshots.load(Ordering::SeqCst), 0);
    }
);

// Neither a new build that takes snapshots nor a new epoch makes the consumer pass over a loss.
on_both!(lost_event_is_noticed_before_any_snapshot, |database| async move {
    allow();
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    let mut backups = Vec::new();
    for n in [1, 2] {
        add(db, org(n), "a", "x").await;
        backups.push((org(n), db.head(org(n)).await.unwrap()));
        add(db, org(n), "lost", "x").await;
    }
    let first = consumer(db, db, &roster);
    let running = start(&first);
    caught_up(db, &first, &[1, 2]).await;
    running.stop().await;
    for (org_id, backup) in backups {
        lose(db, org_id, backup).await;
    }
    let outdated: Result<(), StorageError> = db
        .write(|tx| async move {
            let sql = "UPDATE feed_cursor SET unknown_build = 'old' WHERE org_id = $1";
            run(&tx, sql, vec![org(1).uuid().into()]).await
        })
        .await;
    outdated.unwrap();
    db.expire_cursors().await.unwrap();
    let second = consumer(db, db, &roster);
    let running = start(&second);
    for n in [1, 2] {
        assert_eq!(quarantined(db, &second, org(n)).await.event_failure, LOST, "{n}");
    }
    running.stop().await;
    assert_eq!(roster.snapshots.load(Ordering::SeqCst), 0);
});

/// A source that loses the last event of an organization before it reads a snapshot.
struct Losing {
    client: FeedClient<OrgRegistryFeed, WithCaller>,
    db: Db,
    backup: LogHead,
}

#[async_trait]
impl Source for Losing {
    type Event = OrgRegistryEvent;

    fn service(&self) -> &'static str {
        self.client.service()
    }

    async fn watch_heads(&self) -> Result<HeadStream, Status> {
        self.client.watch_heads().await
    }

    async fn read(
        &self,
        org_id: OrgId,
        cursor: &str,
        limit: i32,
    ) -> Result<EventPage<OrgRegistryEvent>, Status> {
        self.client.read(org_id, cursor, limit).await
    }

    async fn snapshot(
        &self,
        org_id: OrgId,
    ) -> Result<BoxStream<'static, Result<SnapshotItem<OrgRegistryEvent>, Status>>, Status> {
        lose(&self.db, org_id, self.backup).await;
        self.client.snapshot(org_id).await
    }
}

// The source fails over between the reading that found the cursor expired and the snapshot.
on_both!(loss_before_the_snapshot_is_noticed, |database| async move {
    allow();
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    add(db, org(1), "a", "x").await;
    let backup = db.head(org(1)).await.unwrap();
    add(db, org(1), "lost", "x").await;
    let first = consumer(db, db, &roster);
    let running = start(&first);
    caught_up(db, &first, &[1]).await;
    running.stop().await;
    db.expire_cursors().await.unwrap();
    let source = Losing {
        client: FeedClient::new(service(db)),
        db: db.clone(),
        backup,
    };
    let second = Arc::new(Consumer::new("test.roster", db.clone(), source, roster.clone()));
    let (cancel, mut steps) = (CancellationToken::new(), second.freshness().steps().unwrap());
    let held = async {
        loop {
            steps.mark_unchanged();
            let all = list_quarantined(db.conn(), None, 10).await.unwrap();
            if let Some(held) = all.first() {
                assert_eq!(held.event_failure, LOST);
                break;
            }
            steps.changed().await.unwrap();
        }
        cancel.cancel();
    };
    tokio::join!(second.run(cancel.clone()), held);
    assert_eq!(labels(db, org(1)).await, ["a", "lost"]);
    assert_eq!(roster.snapshots.load(Ordering::SeqCst), 0);
});
