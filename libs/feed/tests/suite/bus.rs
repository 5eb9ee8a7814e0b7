//! Tests of the bus: delivery, lag, hints and reconnecting.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic and may spawn tasks"
)]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use parta_feed::{Bus, LocalBus, NatsBus, NatsConfig, hint_task};
use parta_ids::TypedId;
use parta_testkit::{Link, eventually, logs, on_both, on_postgres};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    school::{add, another_replica, migrations, next_positions, org, service, watch},
    support::Store,
};

#[test]
fn local_bus_reaches_current_subscribers_only() {
    parta_testkit::run(async {
        let bus = LocalBus::new();
        bus.publish("a", Bytes::from_static(b"early")).await.unwrap();
        let (mut one, mut two) = (
            bus.subscribe("a").await.unwrap(),
            bus.subscribe("a").await.unwrap(),
        );
        let mut other = bus.subscribe("b").await.unwrap();
        bus.publish("a", Bytes::from_static(b"1")).await.unwrap();
        bus.publish("b", Bytes::from_static(b"2")).await.unwrap();
        assert_eq!(
            (one.next().await.unwrap(), two.next().await.unwrap()),
            ("1".into(), "1".into())
        );
        assert_eq!(other.next().await.unwrap(), "2");
        drop((one, two));
        bus.publish("a", Bytes::from_static(b"unreceived")).await.unwrap();
    });
}

/// A slow subscriber loses only the oldest messages, because the bus is bounded.
#[test]
fn lagging_subscriber_loses_the_oldest_messages() {
    parta_testkit::run(async {
        let bus = LocalBus::new();
        let mut slow = bus.subscribe("a").await.unwrap();
        for n in 0..2000_u32 {
            bus.publish("a", Bytes::copy_from_slice(&n.to_be_bytes()))
                .await
                .unwrap();
        }
        let first = u32::from_be_bytes(slow.next().await.unwrap().as_ref().try_into().unwrap());
        assert_eq!(first, 2000 - 1024);
    });
}

// A commit on one replica wakes the readers of another replica.
on_both!(commit_sends_a_hint_to_other_replicas, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (bus, cancel) = (Arc::new(LocalBus::new()), CancellationToken::new());
    let mut other_replica = bus.subscribe("parta.hint.test").await.unwrap();
    let task = tokio::spawn(hint_task(store.db.clone(), bus.clone(), cancel.clone()));
    add(&store.db, org(1), "a", "x").await;
    add(&store.db, org(2), "a", "x").await;
    let mut announced = BTreeSet::new();
    while announced.len() < 2 {
        let hint = other_replica.next().await.unwrap();
        announced.insert(Uuid::from_slice(&hint[..16]).unwrap());
    }
    assert_eq!(announced, [org(1).uuid(), org(2).uuid()].into());
    cancel.cancel();
    task.await.unwrap();
});

// A hint wakes a stream before the next reading of the heads; a lost hint is covered by that reading.
on_postgres!(
    hint_of_another_replica_wakes_a_stream,
    "SQLite has one process",
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        let other = another_replica(&store, &database).await;
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let cancel = CancellationToken::new();
        let tasks =
            [&store.db, &other].map(|db| tokio::spawn(hint_task(db.clone(), bus.clone(), cancel.clone())));
        let mut stream = watch(service(&store.db), org(1), "").await.unwrap();
        stream.next().await.unwrap().unwrap();
        for unit in ["a", "b", "c"] {
            add(&other, org(1), unit, "x").await;
        }
        let (positions, _) = next_positions(&mut stream, 3).await;
        assert_eq!(positions, [1, 2, 3]);
        cancel.cancel();
        for task in tasks {
            task.await.unwrap();
        }
    }
);

/// Publishes until a message arrives, because messages published while disconnected are lost by design.
async fn publish_until_received(
    bus: &NatsBus,
    stream: &mut (impl futures::Stream<Item = Bytes> + Unpin),
    message: &'static str,
) {
    let received = async {
        loop {
            let _ = bus.publish("a", Bytes::from_static(message.as_bytes())).await;
            if let Ok(Some(payload)) = tokio::time::timeout(Duration::from_millis(50), stream.next()).await
                && payload == message
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), received)
        .await
        .unwrap();
}

/// The NATS bus reconnects after its server was lost, and publishing never blocks meanwhile.
#[test]
fn nats_bus_reconnects() {
    parta_testkit::run(async {
        let server = parta_testkit::nats_url();
        let link = Link::to(&server).await;
        let config = NatsConfig {
            servers: vec![link.through(&server)],
            ..NatsConfig::default()
        };
        let bus = NatsBus::connect(&config, "test").await.unwrap();
        let mut stream = bus.subscribe("a").await.unwrap();
        publish_until_received(&bus, &mut stream, "one").await;
        logs().allow("NATS");
        // The client reconnects at once, and the link closes that connection before the server greets.
        logs().allow("expected INFO, got nothing");
        link.disconnect().await;
        // The client offers no event.
        eventually("the bus has lost its server", async || {
            (!bus.is_connected()).then_some(())
        })
        .await;
        let lost = tokio::time::timeout(Duration::from_secs(5), bus.publish("a", Bytes::new())).await;
        assert!(lost.unwrap().is_err());
        link.reconnect();
        publish_until_received(&bus, &mut stream, "two").await;
    });
}
