//! The bus: it wakes, and may fail.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and spawn freely"
)]

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use parta_feed::{Bus, LocalBus, NatsBus, NatsConfig, hint_task};
use tokio_util::sync::CancellationToken;

use crate::{
    school::{add, migrations, org},
    support::each,
};

#[tokio::test]
async fn the_local_bus_reaches_present_subscribers_only() {
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
    bus.publish("a", Bytes::from_static(b"nobody")).await.unwrap();
}

/// A slow subscriber loses the oldest messages and nothing else: the bus has a bound.
#[tokio::test]
async fn a_lagging_subscriber_loses_the_oldest() {
    let bus = LocalBus::new();
    let mut slow = bus.subscribe("a").await.unwrap();
    for n in 0..2000_u32 {
        bus.publish("a", Bytes::copy_from_slice(&n.to_be_bytes()))
            .await
            .unwrap();
    }
    let first = u32::from_be_bytes(slow.next().await.unwrap().as_ref().try_into().unwrap());
    assert_eq!(first, 2000 - 1024);
}

/// A commit on one replica wakes the readers of another.
#[tokio::test]
async fn a_commit_is_hinted_to_other_replicas() {
    each(migrations, |store| async move {
        let (bus, cancel) = (Arc::new(LocalBus::new()), CancellationToken::new());
        let mut wire = bus.subscribe("parta.hint.test").await.unwrap();
        let task = tokio::spawn(hint_task(store.db.clone(), bus.clone(), cancel.clone()));
        let mut hints = store.db.event_hints();
        // The relay listens as soon as something that is sent comes back as a hint.
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
            let hint = i64::from_be_bytes(wire.next().await.unwrap().as_ref().try_into().unwrap());
            if hint != 1 {
                break hint;
            }
        };
        assert_eq!(two, 2);
        cancel.cancel();
        task.await.unwrap();
    })
    .await;
}

struct Server(Child);
impl Server {
    fn start(port: u16) -> Option<Self> {
        let mut command = Command::new("nats-server");
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().ok().map(Self)
    }
}
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Publishes until something arrives: what is sent while there is no connection is lost by design.
async fn arrives(
    bus: &NatsBus,
    stream: &mut (impl futures::Stream<Item = Bytes> + Unpin),
    word: &'static str,
) {
    let arrived = async {
        loop {
            let _ = bus.publish("a", Bytes::from_static(word.as_bytes())).await;
            if let Ok(Some(got)) = tokio::time::timeout(Duration::from_millis(50), stream.next()).await
                && got == word
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), arrived)
        .await
        .unwrap();
}

/// The cluster's bus comes back after the loss of its server, and publishing never blocks meanwhile.
#[tokio::test]
async fn the_nats_bus_reconnects() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let Some(server) = Server::start(port) else {
        eprintln!("nats-server is not installed: nothing was tested");
        return;
    };
    let config = NatsConfig {
        servers: vec![format!("nats://127.0.0.1:{port}")],
        ..NatsConfig::default()
    };
    let bus = NatsBus::connect(&config, "test").await.unwrap();
    let mut stream = bus.subscribe("a").await.unwrap();
    arrives(&bus, &mut stream, "one").await;
    drop(server);
    while bus.is_connected() {
        tokio::task::yield_now().await;
    }
    let lost = tokio::time::timeout(Duration::from_secs(5), bus.publish("a", Bytes::new())).await;
    assert!(lost.unwrap().is_err());
    let _server = Server::start(port).unwrap();
    arrives(&bus, &mut stream, "two").await;
}
