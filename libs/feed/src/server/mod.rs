//! The server of a feed: one implementation for the feeds of all packages.

mod services;
mod watch;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{FutureExt, Stream, future::BoxFuture, stream};
use parta_access::{Caller, Principal};
use parta_database::{Db, LogHead, Tx};
use parta_ids::{EventId, OrgId};
use parta_proto::WatchItem;
use parta_status::{self as status, RpcError};
use tokio_util::sync::CancellationToken;

use crate::{Cursor, EventPayload, FeedKind, kind::EventMeta, log};
use watch::{Watch, expired};

type SnapshotFn<K> = dyn Fn(Tx, Option<OrgId>) -> BoxFuture<'static, Result<Vec<(OrgId, <K as FeedKind>::Payload)>, RpcError>>
    + Send
    + Sync;

/// Serves the event log of a service through its generated feed service.
pub struct FeedServer<K: FeedKind> {
    db: Db,
    snapshot: Arc<SnapshotFn<K>>,
    cancel: CancellationToken,
}

impl<K: FeedKind> Clone for FeedServer<K> {
    fn clone(&self) -> Self {
        Self {
            db: self.db.clone(),
            snapshot: self.snapshot.clone(),
            cancel: self.cancel.clone(),
        }
    }
}

impl<K: FeedKind> FeedServer<K> {
    /// Returns a server. `snapshot` returns the events that build the current state of one organization, or
    /// of all, from nothing; it reads through the transaction that it receives. Streams end when `cancel` is
    /// canceled.
    pub fn new<F, Fut>(db: Db, cancel: CancellationToken, snapshot: F) -> Self
    where
        F: Fn(Tx, Option<OrgId>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<(OrgId, K::Payload)>, RpcError>> + Send + 'static,
    {
        Self {
            db,
            cancel,
            snapshot: Arc::new(move |tx, org_id| snapshot(tx, org_id).boxed()),
        }
    }

    async fn watch_from(
        &self,
        caller: &Caller,
        cursor: &str,
        org_id: &str,
    ) -> Result<
        impl Stream<Item = Result<(String, WatchItem<K::Event>), RpcError>> + Send + 'static + use<K>,
        RpcError,
    > {
        let org_id = scope(caller, org_id)?;
        let head = self.db.head().await?;
        let position = if cursor.is_empty() {
            0
        } else {
            let cursor = Cursor::decode(cursor, self.db.secrets())?;
            if cursor.incarnation != head.incarnation || cursor.position > head.position {
                return Err(expired());
            }
            cursor.position
        };
        if position < log::floor(self.db.conn(), head).await? {
            return Err(expired());
        }
        let watch = Watch::<K::Event>::new(
            self.db.clone(),
            self.cancel.clone(),
            LogHead {
                incarnation: head.incarnation,
                position,
            },
            org_id,
            expiry(caller),
        );
        Ok(stream::unfold(Some(watch), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(item) => Some((Ok(item), Some(watch))),
                Err(refusal) => Some((Err(refusal), None)),
            }
        }))
    }

    async fn take_snapshot(
        &self,
        caller: &Caller,
        org_id: &str,
    ) -> Result<(Vec<K::Event>, String), RpcError> {
        let org_id = scope(caller, org_id)?;
        let (head, payloads) = self
            .db
            .read(|tx| async move {
                let head = tx.head().await?;
                Ok::<_, RpcError>((head, (self.snapshot)(tx, org_id).await?))
            })
            .await?;
        let occur_time = self.db.env().now();
        let events = payloads
            .into_iter()
            .map(|(org_id, payload)| {
                let mut event = payload.into_event();
                EventMeta {
                    event_id: self.db.env().id::<EventId>(),
                    org_id,
                    position: head.position,
                    occur_time,
                    trace_parent: String::new(),
                }
                .set(&mut event);
                event
            })
            .collect();
        Ok((events, Cursor::from(head).encode(self.db.secrets())))
    }
}

/// Returns the permitted scope. Services may read all organizations, a service account only its own.
fn scope(caller: &Caller, org_id: &str) -> Result<Option<OrgId>, RpcError> {
    let requested = if org_id.is_empty() {
        None
    } else {
        Some(
            org_id
                .parse::<OrgId>()
                .map_err(|_| status::invalid("org_id", "must be an id `org_...`"))?,
        )
    };
    match &caller.principal {
        Principal::Service { .. } => Ok(requested),
        Principal::ServiceAccount {
            org_id: own,
            permissions,
            ..
        } => {
            let requested =
                requested.ok_or_else(|| status::invalid("org_id", "is required of a service account"))?;
            if requested != *own {
                return Err(status::not_found("organization", requested));
            }
            if !permissions.contains("feed.watch") {
                return Err(status::permission_denied(
                    "The service account lacks the permission feed.watch.",
                ));
            }
            Ok(Some(requested))
        }
        _ => Err(status::caller_not_accepted(
            caller.rpc,
            "Only services and service accounts can read feeds.",
        )),
    }
}

/// Returns when the stream must end because its credential expires. Services renew their credentials every
/// minute, so their streams have no expiry.
fn expiry(caller: &Caller) -> Option<DateTime<Utc>> {
    match &caller.principal {
        Principal::ServiceAccount { .. } => caller.expire_time,
        _ => None,
    }
}
