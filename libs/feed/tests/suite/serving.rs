//! Authorization of feed readers.

use std::sync::Arc;

use chrono::TimeDelta;
use futures::StreamExt;
use parta_access::{Principal, ServiceAccountPermission};
use parta_feed::{FeedClient, FeedServer, SnapshotItem, Source};
use parta_ids::{MemberId, OrgId, ServiceAccountId, ServiceAccountKeyId, SessionId, TypedId};
use parta_proto::feed::v1::{ReadRequest, SnapshotRequest, WatchRequest};
use parta_proto_org_registry::{
    OrgRegistryFeed,
    v1::{
        org_registry_feed_service_client::OrgRegistryFeedServiceClient,
        org_registry_feed_service_server::OrgRegistryFeedService, watch_response::Item,
    },
};
use parta_status::RpcError;
use parta_testkit::on_both;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;

use crate::{
    school::{
        WithCaller, add, migrations, next_positions, org, position, server, service, watch, with_caller,
    },
    support::Store,
};

fn account(org_id: OrgId, permission: ServiceAccountPermission) -> Principal {
    Principal::ServiceAccount {
        org_id,
        id: ServiceAccountId::from_uuid(Uuid::from_u128(9)),
        key_id: ServiceAccountKeyId::from_uuid(Uuid::from_u128(9)),
        permissions: [permission].into(),
    }
}

/// Returns why an organization cannot be read. Every RPC that names one gives the same reason.
async fn refused(service: &WithCaller, org_id: &str) -> Option<(Code, String)> {
    let reason = |status: tonic::Status| {
        let reason = RpcError::from_status(&status).map(|r| r.reason().to_owned());
        (status.code(), reason.unwrap_or_default())
    };
    let mut client = OrgRegistryFeedServiceClient::new(service.clone());
    let org_id = org_id.to_owned();
    let read = ReadRequest {
        org_id: org_id.clone(),
        ..Default::default()
    };
    let watch = WatchRequest {
        org_id: org_id.clone(),
        ..Default::default()
    };
    let read = client.read(read).await.err().map(reason);
    let watch = client.watch(watch).await.err().map(reason);
    let snapshot = client
        .snapshot(SnapshotRequest { org_id })
        .await
        .err()
        .map(reason);
    assert_eq!(read, watch);
    assert_eq!(watch, snapshot);
    watch
}

// Invariant 4: a service account reads its own organization and learns nothing about another, not even how
// busy it is.
// Covers: R30 allowed, R30 refused, R63 allowed, R63 refused, R59 refused
on_both!(
    service_account_reads_its_own_organization_only,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        for (n, unit) in [(1, "a"), (2, "b"), (1, "c")] {
            add(&store.db, org(n), unit, unit).await;
        }
        let service = with_caller(
            &store.db,
            account(org(1), ServiceAccountPermission::OrgRegistryFeedRead),
        );
        for n in [2, 3] {
            assert_eq!(
                refused(&service, &org(n).to_string()).await,
                Some((Code::NotFound, "NOT_FOUND".into()))
            );
        }
        assert_eq!(
            refused(&service, "").await,
            Some((Code::InvalidArgument, "FIELD_INVALID".into()))
        );

        let mut stream = watch(service.clone(), org(1), "").await.unwrap();
        let mut seen = Vec::new();
        let cursor = loop {
            let response = stream.next().await.unwrap().unwrap();
            match response.item.unwrap() {
                Item::Event(event) => seen.push((event.org_id, event.position)),
                Item::Checkpoint(_) => break response.cursor,
            }
        };
        assert_eq!(seen, [(org(1).to_string(), 1), (org(1).to_string(), 2)]);

        // When resumed after the checkpoint, nothing is delivered twice.
        add(&store.db, org(1), "d", "d").await;
        let mut stream = watch(service.clone(), org(1), &cursor).await.unwrap();
        assert_eq!(next_positions(&mut stream, 1).await.0, [3]);

        let feed: FeedClient<OrgRegistryFeed, _> = FeedClient::new(service.clone());
        let snapshot: Vec<_> = feed.snapshot(org(1)).await.unwrap().collect().await;
        let events = snapshot.iter().filter_map(|item| match item {
            Ok(SnapshotItem::Event(event)) => Some((event.org_id.clone(), event.position)),
            _ => None,
        });
        assert_eq!(events.collect::<Vec<_>>(), vec![(org(1).to_string(), 3); 3]);
        assert!(matches!(snapshot.last(), Some(Ok(SnapshotItem::End { cursor })) if !cursor.is_empty()));

        // No other permission admits to this feed, also not that of another feed.
        for other in ServiceAccountPermission::ALL {
            if other == ServiceAccountPermission::OrgRegistryFeedRead {
                continue;
            }
            let without_permission = with_caller(&store.db, account(org(1), other));
            assert_eq!(
                refused(&without_permission, &org(1).to_string()).await,
                Some((Code::PermissionDenied, "PERMISSION_DENIED".into())),
                "{other}"
            );
        }
        // The heads of all organizations are for services only.
        let heads = feed.watch_heads().await.err().unwrap();
        assert_eq!(heads.code(), Code::PermissionDenied);
    }
);

// One page of the log at a time, as an external system without an open connection reads it.
// Covers: R63 allowed
on_both!(read_returns_pages_of_the_log, |database| async move {
    let store = Store::open(&database, migrations()).await;
    for n in 1..=5 {
        add(&store.db, org(1), &format!("u{n}"), "x").await;
    }
    let service = with_caller(
        &store.db,
        account(org(1), ServiceAccountPermission::OrgRegistryFeedRead),
    );
    let mut client = OrgRegistryFeedServiceClient::new(service);
    let mut request = ReadRequest {
        org_id: org(1).to_string(),
        cursor: String::new(),
        page_size: 2,
    };
    let mut pages = Vec::new();
    loop {
        let page = client.read(request.clone()).await.unwrap().into_inner();
        pages.push(page.events.iter().map(|event| event.position).collect::<Vec<_>>());
        if page.events.is_empty() {
            assert_eq!(page.cursor, request.cursor);
            break;
        }
        request.cursor = page.cursor;
    }
    assert_eq!(pages, [vec![1, 2], vec![3, 4], vec![5], vec![]]);
    for page_size in [-1, 257] {
        let wrong = ReadRequest {
            page_size,
            ..request.clone()
        };
        let refused = client.read(wrong).await.unwrap_err();
        let refused = RpcError::from_status(&refused).unwrap();
        assert_eq!(refused.fields()[0].0, "page_size");
    }
    // A cursor of another organization is not one of this.
    let mut foreign = OrgRegistryFeedServiceClient::new(with_caller(
        &store.db,
        account(org(2), ServiceAccountPermission::OrgRegistryFeedRead),
    ));
    request.org_id = org(2).to_string();
    let refused = RpcError::from_status(&foreign.read(request).await.unwrap_err()).unwrap();
    assert_eq!(refused.fields()[0].0, "cursor");
});

// The heads: all of them, then those that change, each with its latest position.
on_both!(heads_are_streamed_with_heartbeats, |database| async move {
    let store = Store::open(&database, migrations()).await;
    for (n, unit) in [(1, "a"), (2, "b"), (1, "c")] {
        add(&store.db, org(n), unit, unit).await;
    }
    let feed: FeedClient<OrgRegistryFeed, _> = FeedClient::new(service(&store.db));
    let mut stream = feed.watch_heads().await.unwrap();
    let mut known = std::collections::BTreeMap::new();
    let mut until_heartbeat = async |known: &mut std::collections::BTreeMap<String, i64>| loop {
        let response = stream.next().await.unwrap().unwrap();
        known.extend(
            response
                .heads
                .into_iter()
                .map(|head| (head.org_id, head.position)),
        );
        if response.complete {
            break;
        }
    };
    until_heartbeat(&mut known).await;
    let expected = [(org(1).to_string(), 2), (org(2).to_string(), 1)];
    assert_eq!(known, expected.into());
    known.clear();
    add(&store.db, org(3), "d", "d").await;
    until_heartbeat(&mut known).await;
    assert_eq!(
        known,
        [(org(3).to_string(), 1)].into(),
        "only what changed is sent"
    );
});

// Members cannot read feeds, even if the access rules allowed it.
// Covers: R63 refused
on_both!(members_cannot_read_feeds, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let person = Principal::Person {
        org_id: org(1),
        member_id: MemberId::from_uuid(Uuid::from_u128(1)),
        session_id: SessionId::from_uuid(Uuid::from_u128(1)),
    };
    for principal in [person, Principal::Anonymous] {
        let service = with_caller(&store.db, principal);
        assert_eq!(
            refused(&service, &org(1).to_string()).await,
            Some((Code::PermissionDenied, "CALLER_NOT_ACCEPTED".into()))
        );
    }
});

// A stream reports that the server stops, so that its reader reconnects to another replica.
on_both!(stopping_server_ends_its_streams, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let cancel = CancellationToken::new();
    let server = server(&store.db, cancel.clone());
    let mut request = tonic::Request::new(WatchRequest {
        org_id: org(1).to_string(),
        ..Default::default()
    });
    let caller = parta_access::Caller::new(Principal::Service { name: "chat".into() }, "x/y");
    request.extensions_mut().insert(caller);
    let mut stream = server.watch(request).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    cancel.cancel();
    let end = stream.next().await.unwrap().unwrap_err();
    assert_eq!(
        (end.code(), stream.next().await.is_none()),
        (Code::Unavailable, true)
    );
});

// A stream of a service account ends when the credential that opened it expires.
on_both!(stream_ends_with_its_credential, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let mut service = with_caller(
        &store.db,
        account(org(1), ServiceAccountPermission::OrgRegistryFeedRead),
    );
    service.caller.expire_time = Some(store.db.env().now() + TimeDelta::minutes(10));
    let mut stream = watch(service, org(1), "").await.unwrap();
    stream.next().await.unwrap().unwrap();
    store.clock.advance(TimeDelta::minutes(10));
    // The stream sleeps by the clock of the runtime, and wakes when its log changes.
    add(&store.db, org(1), "a", "x").await;
    let end = stream.next().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unauthenticated);
});

// A fifth snapshot waits until one of four is read.
on_both!(source_reads_four_snapshots_at_once, |database| async move {
    let store = Store::open(&database, migrations()).await;
    let (permits, reading) = (
        Arc::new(Semaphore::new(0)),
        tokio::sync::watch::Sender::new((0, 0)),
    );
    let server = FeedServer::<OrgRegistryFeed>::new(store.db.clone(), CancellationToken::new(), {
        let (permits, reading) = (permits.clone(), reading.clone());
        move |_, _| {
            let (permits, reading) = (permits.clone(), reading.clone());
            async move {
                // The number of snapshots that are being read, and the largest.
                reading.send_modify(|(now, most)| {
                    *now += 1;
                    *most = *now.max(most);
                });
                permits.acquire().await.unwrap().forget();
                reading.send_modify(|(now, _)| *now -= 1);
                Ok(Vec::new())
            }
        }
    });
    let snapshot = async || {
        let mut request = tonic::Request::new(SnapshotRequest {
            org_id: org(1).to_string(),
        });
        let caller = parta_access::Caller::new(Principal::Service { name: "chat".into() }, "x/y");
        request.extensions_mut().insert(caller);
        server.snapshot(request).await.map(drop)
    };
    let all = futures::future::join_all((0..5).map(|_| snapshot()));
    let observe = async {
        let mut reading = reading.subscribe();
        reading.wait_for(|(now, _)| *now == 4).await.unwrap();
        // Time for the fifth to begin, if nothing stopped it: it would do the same reading before.
        position(&store.db, org(1)).await;
        assert_eq!(*reading.borrow(), (4, 4));
        permits.add_permits(5);
    };
    let (all, ()) = tokio::join!(all, observe);
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(*reading.borrow(), (0, 4));
});
