//! Snapshots: how much memory a large one takes, and what readers see while it is applied.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{StreamExt as _, stream, stream::BoxStream};
use parta_database::{StorageError, Tx};
use parta_feed::{
    Consumer, EventPage, EventPayload as _, FeedClient, HandleError, Handler, Snapshot, SnapshotItem, Source,
};
use parta_ids::OrgId;
use parta_proto::HeadStream;
use parta_proto_org_registry::{OrgRegistryFeed, v1::OrgRegistryEvent};
use parta_testkit::on_both;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    school::{
        Roster, WithCaller, add, caught_up, consumer, created, equal_to_source, migrations, org, rows, run,
        service, start,
    },
    support::Store,
};

/// The events of the snapshot of a school with 30,000 members.
const EVENTS: usize = 90_000;

/// A source whose snapshots have many events.
struct Large(FeedClient<OrgRegistryFeed, WithCaller>);

#[async_trait]
impl Source for Large {
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
        let mut few: Vec<_> = self.0.snapshot(org_id).await?.collect().await;
        let SnapshotItem::Event(first) = few[0].clone()? else {
            return Err(parta_status::RpcError::internal("the snapshot is empty").into());
        };
        let end = few.pop().unwrap();
        let many = (0..EVENTS).map(move |n| {
            let mut event = created(&format!("unt_01k6c2v8f4e3ra7w0q9m{n:06}"), "5А").into_event();
            event.event_id.clone_from(&first.event_id);
            event.org_id.clone_from(&first.org_id);
            event.position = first.position;
            event.occur_time = first.occur_time;
            Ok(SnapshotItem::Event(event))
        });
        Ok(stream::iter(many.chain([end])).boxed())
    }
}

/// Counts the events of a snapshot, and the largest number that it sees at a time.
#[derive(Clone, Default)]
struct Count(Arc<Mutex<(usize, usize)>>);

#[async_trait]
impl Handler for Count {
    type Event = OrgRegistryEvent;

    async fn apply(&self, _: &Tx, _: OrgId, _: &[OrgRegistryEvent]) -> Result<(), HandleError> {
        Ok(())
    }

    async fn replace(
        &self,
        _: &Tx,
        _: OrgId,
        snapshot: &Snapshot<OrgRegistryEvent>,
    ) -> Result<(), HandleError> {
        let mut count = (0, 0);
        for events in snapshot.parts() {
            let events = events?;
            count = (count.0 + events.len(), count.1.max(events.len()));
        }
        *self.0.lock().unwrap() = count;
        Ok(())
    }
}

/// Returns a number of the kernel about the memory of this process, in KiB.
fn memory_kib(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// Case 12: a consumer takes a snapshot of 90,000 events within 64 MiB. Decoded they take 43 MiB.
on_both!(large_snapshot_takes_little_memory, |database| async move {
    parta_testkit::logs().allow("replacing a projection by a snapshot");
    let store = Store::open(&database, migrations()).await;
    let db = &store.db;
    add(db, org(1), "a", "x").await;
    add(db, org(1), "b", "x").await;
    // The log no longer has its begin.
    let purge: Result<(), StorageError> = db
        .write(|tx| async move { run(&tx, "DELETE FROM event WHERE position = 1", vec![]).await })
        .await;
    purge.unwrap();
    let handler = Count::default();
    let source = Large(FeedClient::new(service(db)));
    let consumer = Consumer::new("test.roster", db.clone(), source, handler.clone());
    let cancel = CancellationToken::new();
    // The kernel forgets the peak of the time before.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory_kib("VmRSS:");
    let done = async {
        consumer.freshness().completed().await;
        cancel.cancel();
    };
    tokio::join!(consumer.run(cancel.clone()), done);
    let growth = memory_kib("VmHWM:").saturating_sub(before) / 1024;
    let (count, largest) = *handler.0.lock().unwrap();
    assert_eq!(count, EVENTS);
    assert!(growth < 20, "{growth} MiB");
    assert!(largest <= 256, "{largest} events at a time");
});

// While a snapshot is applied, readers see the projection of before.
on_both!(snapshot_is_seen_as_a_whole, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (db, roster) = (&store.db, Roster::default());
    for n in 0..600 {
        add(db, org(1), &format!("u{n:03}"), "x").await;
    }
    let consumer = consumer(db, db, &roster);
    let running = start(&consumer);
    caught_up(db, &consumer, &[1]).await;
    let before = rows(db, "roster").await;
    // The source lost events without a trace.
    let change: Result<(), StorageError> = db
        .write(|tx| async move {
            run(&tx, "DELETE FROM unit WHERE unit_id < 'u300'", vec![]).await?;
            run(
                &tx,
                "UPDATE unit SET label = 'held' WHERE unit_id = 'u599'",
                vec![],
            )
            .await
        })
        .await;
    change.unwrap();
    let mut held = roster.held.subscribe();
    *roster.held_label.lock().unwrap() = Some("held".into());
    let rebuild: Result<bool, StorageError> = db
        .write(|tx| async move { parta_feed::rebuild(&tx, org(1), "test.roster").await })
        .await;
    assert!(rebuild.unwrap());
    held.wait_for(|held| *held > 0).await.unwrap();
    assert_eq!(rows(db, "roster").await, before);
    *roster.held_label.lock().unwrap() = None;
    roster.opened.notify_waiters();
    equal_to_source(db, &consumer).await;
    running.stop().await;
    assert_eq!(rows(db, "roster").await.len(), 300);
});
