//! Authorization of feed readers.

use chrono::TimeDelta;
use futures::StreamExt;
use parta_access::Principal;
use parta_feed::{FeedClient, FeedItem, SnapshotItem, Source};
use parta_ids::{MemberId, OrgId, ServiceAccountId, SessionId, TypedId};
use parta_proto_org_registry::OrgRegistryFeed;
use parta_status::RpcError;
use parta_testkit::on_both;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;

use crate::{
    school::{WithCaller, add, migrations, org, server, with_caller},
    support::Store,
};

fn account(org_id: OrgId, permission: &str) -> Principal {
    Principal::ServiceAccount {
        org_id,
        id: ServiceAccountId::from_uuid(Uuid::from_u128(9)),
        permissions: [permission.to_owned()].into(),
    }
}

async fn refused(
    feed: &FeedClient<OrgRegistryFeed, WithCaller>,
    org_id: Option<OrgId>,
) -> Option<(Code, String)> {
    let reason = |status: tonic::Status| {
        (
            status.code(),
            RpcError::from_status(&status)
                .map(|r| r.reason().to_owned())
                .unwrap_or_default(),
        )
    };
    let watch = feed.watch("", org_id).await.err().map(reason);
    let snapshot = feed.snapshot(org_id).await.err().map(reason);
    assert_eq!(watch, snapshot);
    watch
}

// Invariant 4: a service account reads its own organization and learns nothing about another.
// Covers: R30 allowed, R30 refused, R63 allowed, R63 refused, R59 refused
on_both!(
    service_account_reads_its_own_organization_only,
    |database| async move {
        let store = Store::open(&database, migrations()).await;
        for (n, unit) in [(1, "a"), (2, "b"), (1, "c")] {
            add(&store.db, org(n), unit, unit).await;
        }
        let feed = FeedClient::new(with_caller(&store.db, account(org(1), "feed.watch")));
        assert_eq!(
            refused(&feed, Some(org(2))).await,
            Some((Code::NotFound, "NOT_FOUND".into()))
        );
        assert_eq!(
            refused(&feed, Some(org(3))).await,
            Some((Code::NotFound, "NOT_FOUND".into()))
        );
        assert_eq!(
            refused(&feed, None).await,
            Some((Code::InvalidArgument, "FIELD_INVALID".into()))
        );

        let mut stream = feed.watch("", Some(org(1))).await.unwrap();
        let mut seen = Vec::new();
        let cursor = loop {
            let delivery = stream.next().await.unwrap().unwrap();
            match delivery.item {
                FeedItem::Event(event) => seen.push((event.org_id, event.position)),
                FeedItem::Checkpoint => break delivery.cursor,
            }
        };
        assert_eq!(seen, [(org(1).to_string(), 1), (org(1).to_string(), 3)]);

        // When resumed after the checkpoint, nothing is delivered twice.
        add(&store.db, org(1), "d", "d").await;
        let mut stream = feed.watch(&cursor, Some(org(1))).await.unwrap();
        assert!(
            matches!(stream.next().await.unwrap().unwrap().item, FeedItem::Event(event) if event.position == 4)
        );

        let snapshot: Vec<_> = feed.snapshot(Some(org(1))).await.unwrap().collect().await;
        let events = snapshot.iter().filter_map(|item| match item {
            Ok(SnapshotItem::Event(event)) => Some((event.org_id.clone(), event.position)),
            _ => None,
        });
        assert_eq!(events.collect::<Vec<_>>(), vec![(org(1).to_string(), 4); 3]);
        assert!(matches!(snapshot.last(), Some(Ok(SnapshotItem::End { cursor })) if !cursor.is_empty()));

        let without_permission = FeedClient::new(with_caller(&store.db, account(org(1), "roster.read")));
        assert_eq!(
            refused(&without_permission, Some(org(1))).await,
            Some((Code::PermissionDenied, "PERMISSION_DENIED".into()))
        );
    }
);

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
        let feed = FeedClient::new(with_caller(&store.db, principal));
        assert_eq!(
            refused(&feed, Some(org(1))).await,
            Some((Code::PermissionDenied, "CALLER_NOT_ACCEPTED".into()))
        );
    }
});

// A stream reports that the server stops, so that its reader reconnects to another replica.
on_both!(stopping_server_ends_its_streams, |database| async move {
    let store = Store::open(&database, migrations()).await;
    use parta_proto_org_registry::v1::{
        WatchRequest, org_registry_feed_service_server::OrgRegistryFeedService,
    };
    let cancel = CancellationToken::new();
    let server = server(&store.db, cancel.clone());
    let mut request = tonic::Request::new(WatchRequest::default());
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
    let mut service = with_caller(&store.db, account(org(1), "feed.watch"));
    service.caller.expire_time = Some(store.db.env().now() + TimeDelta::minutes(10));
    let feed: FeedClient<OrgRegistryFeed, _> = FeedClient::new(service);
    let mut stream = feed.watch("", Some(org(1))).await.unwrap();
    stream.next().await.unwrap().unwrap();
    store.clock.advance(TimeDelta::minutes(10));
    let end = stream.next().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unauthenticated);
});
