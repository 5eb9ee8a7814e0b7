//! Tests of the bus: delivery, lag, hints and reconnecting.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic and may spawn tasks"
)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use parta_feed::{Bus, LocalBus, NatsBus, NatsConfig, hint_task};
use parta_testkit::{Link, logs, on_both};
use tokio_util::sync::CancellationToken;

use crate::{
    school::{add, migrations, org},
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
    let mut hints = store.db.event_hints();
    // The relay has subscribed as soon as a published message returns as a hint.
    while !hints.has_changed().unwrap() {
        bus.publish("parta.hint.test", Bytes::copy_from_slice(&1_i64.to_be_bytes()))
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(*hints.borrow_and_update(), 1);
    add(&store.db, org(1), "a", "x").await;
    add(&store.db, org(1), "b", "x").await;
    let two = loop {
        let hint = i64::from_be_bytes(other_replica.next().await.unwrap().as_ref().try_into().unwrap());
        if hint != 1 {
            break hint;
        }
    };
    assert_eq!(two, 2);
    cancel.cancel();
    task.await.unwrap();
});

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
        while bus.is_connected() {
            tokio::task::yield_now().await;
        }
        let lost = tokio::time::timeout(Duration::from_secs(5), bus.publish("a", Bytes::new())).await;
        assert!(lost.unwrap().is_err());
        link.reconnect();
        publish_until_received(&bus, &mut stream, "two").await;
    });
}
