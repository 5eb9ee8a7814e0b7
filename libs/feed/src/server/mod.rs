//! The server of a feed: one implementation for the feeds of all packages.

mod heads;
mod services;
mod watch;
mod withheld;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::{FutureExt, Stream, future::BoxFuture, stream};
use parta_access::{Caller, Principal, ServiceAccountPermission};
use parta_database::{Db, LogHead, StorageError, Tx};
use parta_ids::{EventId, OrgId};
use parta_proto::{
    EventPage, WatchItem,
    feed::v1::{ReadRequest, WatchRequest},
};
use parta_status::{self as status, RpcError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Cursor, EventPayload, FeedKind, Snapshot,
    heads::Heads,
    kind::EventMeta,
    log::{self, PAGE},
};
use watch::Watch;
use withheld::Withheld;

type SnapshotFn<K> =
    dyn Fn(Tx, OrgId) -> BoxFuture<'static, Result<Vec<<K as FeedKind>::Payload>, RpcError>> + Send + Sync;

/// Serves the event logs of a service through its generated feed service.
pub struct FeedServer<K: FeedKind> {
    db: Db,
    snapshot: Arc<SnapshotFn<K>>,
    snapshots: Arc<Semaphore>,
    cancel: CancellationToken,
    /// Whether a payload is withheld from service accounts.
    is_withheld: fn(&K::Payload) -> bool,
}

/// The number of snapshots that are read at a time.
const SNAPSHOTS: usize = 4;
/// The longest wait until a snapshot can be read. The reader then tries again.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(5);
/// The longest time in which a snapshot is read.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(60);

impl<K: FeedKind> Clone for FeedServer<K> {
    fn clone(&self) -> Self {
        Self {
            db: self.db.clone(),
            snapshot: self.snapshot.clone(),
            snapshots: self.snapshots.clone(),
            cancel: self.cancel.clone(),
            is_withheld: self.is_withheld,
        }
    }
}

impl<K: FeedKind> FeedServer<K> {
    /// Returns a server. `snapshot` returns the events that build the current state of an organization from
    /// nothing; it reads through the transaction that it receives. Streams end when `cancel` is canceled.
    pub fn new<F, Fut>(db: Db, cancel: CancellationToken, snapshot: F) -> Self
    where
        F: Fn(Tx, OrgId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<K::Payload>, RpcError>> + Send + 'static,
    {
        Self {
            db,
            cancel,
            is_withheld: |_| false,
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
            snapshot: Arc::new(move |tx, org_id| snapshot(tx, org_id).boxed()),
        }
    }

    /// Withholds the payloads for which `is_withheld` holds from service accounts. They receive such an event
    /// without its payload, so that positions have no gap, and skip it as one of an unknown kind. A snapshot
    /// leaves it out.
    #[must_use]
    pub fn withhold(self, is_withheld: fn(&K::Payload) -> bool) -> Self {
        Self { is_withheld, ..self }
    }

    /// Makes heartbeats name the organizations whose log lacks an ending that is due. `query` returns them,
    /// each with the time since the earliest was due; it runs once a second while anybody follows the heads.
    #[must_use]
    pub fn report_overdue<F, Fut>(self, query: F) -> Self
    where
        F: Fn(Db) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<(OrgId, Duration)>, StorageError>> + Send + 'static,
    {
        let heads = self.db.shared::<Heads>();
        heads.report_overdue(Box::new(move |db| query(db).boxed()));
        self
    }

    /// Returns what is withheld from the caller.
    fn withheld_from(&self, caller: &Caller) -> Withheld<K::Payload> {
        let is_account = matches!(caller.principal, Principal::ServiceAccount { .. });
        Withheld(is_account.then_some(self.is_withheld))
    }

    /// Returns the organization of a request, and the position in its log that the cursor names.
    fn decode_cursor(
        &self,
        caller: &Caller,
        org_id: &str,
        cursor: &str,
    ) -> Result<(OrgId, Option<Cursor>), RpcError> {
        let org_id = scope::<K>(caller, org_id)?;
        if cursor.is_empty() {
            return Ok((org_id, None));
        }
        Ok((org_id, Some(Cursor::decode(cursor, org_id, self.db.secrets())?)))
    }

    async fn read_page(
        &self,
        caller: &Caller,
        request: &ReadRequest,
    ) -> Result<EventPage<K::Event>, RpcError> {
        let (org_id, after) = self.decode_cursor(caller, &request.org_id, &request.cursor)?;
        let limit = match u64::try_from(request.page_size) {
            Ok(0) => PAGE,
            Ok(size) if size <= PAGE => size,
            _ => return Err(status::invalid("page_size", "must be between 0 and 256")),
        };
        let (mut events, cursor) = log::read_page(&self.db, org_id, after, limit).await?;
        let withheld = self.withheld_from(caller);
        events.iter_mut().for_each(|event| withheld.apply(event));
        Ok(EventPage {
            events,
            cursor: cursor.encode(self.db.secrets()),
        })
    }

    async fn watch_from(
        &self,
        caller: &Caller,
        request: &WatchRequest,
    ) -> Result<
        impl Stream<Item = Result<(String, WatchItem<K::Event>), RpcError>> + Send + 'static + use<K>,
        RpcError,
    > {
        let (org_id, after) = self.decode_cursor(caller, &request.org_id, &request.cursor)?;
        // An expired cursor is refused before the stream begins.
        let (events, cursor) = log::read_page(&self.db, org_id, after, PAGE).await?;
        let watch = Watch::<K::Event>::new(
            self.db.clone(),
            self.cancel.clone(),
            events,
            cursor,
            expiry(caller),
            self.withheld_from(caller),
        );
        Ok(stream::unfold(Some(watch), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(item) => Some((Ok(item), Some(watch))),
                Err(refusal) => Some((Err(refusal), None)),
            }
        }))
    }

    /// Reads the state of an organization. Returns its events, without what the log adds to each of them, and
    /// the head of the log.
    async fn take_snapshot(
        &self,
        caller: &Caller,
        org_id: OrgId,
    ) -> Result<(Snapshot<K::Event>, LogHead), RpcError> {
        let overloaded = |why| status::overloaded(why, Duration::from_secs(1));
        let permit = tokio::time::timeout(SNAPSHOT_WAIT, self.snapshots.acquire()).await;
        let _permit = permit
            .map_err(|_| overloaded("Other snapshots are being read. Try again."))?
            .map_err(RpcError::internal)?;
        let read = self.db.read(|tx| async move {
            let head = tx.head(org_id).await?;
            Ok::<_, RpcError>((head, (self.snapshot)(tx, org_id).await?))
        });
        let (head, payloads) = tokio::time::timeout(SNAPSHOT_LIMIT, read)
            .await
            .map_err(|_| overloaded("The snapshot could not be read in time. Try again."))??;
        let withheld = self.withheld_from(caller);
        let payloads = payloads.into_iter().filter(|payload| !withheld.covers(payload));
        Ok((payloads.map(EventPayload::into_event).collect(), head))
    }

    /// Streams the state of an organization as it was when the stream began, and then the cursor after it.
    async fn stream_snapshot(
        &self,
        caller: &Caller,
        org_id: &str,
    ) -> Result<
        impl Stream<Item = Result<(String, Option<K::Event>), RpcError>> + Send + 'static + use<K>,
        RpcError,
    > {
        let org_id = scope::<K>(caller, org_id)?;
        let (snapshot, head) = self.take_snapshot(caller, org_id).await?;
        let (env, occur_time) = (self.db.env().clone(), self.db.env().now());
        let cursor = Cursor::at(org_id, head).encode(self.db.secrets());
        let events = snapshot.into_parts().flat_map(move |part| {
            let (events, failure) = match part {
                Ok(events) => (events, None),
                Err(error) => (Vec::new(), Some(Err(RpcError::internal(error)))),
            };
            let env = env.clone();
            let events = events.into_iter().map(move |mut event| {
                EventMeta {
                    event_id: env.id::<EventId>(),
                    org_id,
                    position: head.position,
                    occur_time,
                    trace_parent: String::new(),
                }
                .set(&mut event);
                Ok((String::new(), Some(event)))
            });
            events.chain(failure)
        });
        Ok(stream::iter(events.chain([Ok((cursor, None))])))
    }
}

/// Returns the organization that the caller may read. Services may read every organization, a service account
/// only its own, and only with the permission of this feed.
fn scope<K: FeedKind>(caller: &Caller, org_id: &str) -> Result<OrgId, RpcError> {
    let requested = org_id
        .parse::<OrgId>()
        .map_err(|_| status::invalid("org_id", "must be an id `org_...`"))?;
    match &caller.principal {
        Principal::Service { .. } => Ok(requested),
        Principal::ServiceAccount {
            org_id: own,
            permissions,
            ..
        } => {
            if requested != *own {
                return Err(status::not_found("organization", requested));
            }
            let needed = ServiceAccountPermission::of_feed(K::SERVICE);
            if !needed.is_some_and(|needed| permissions.contains(&needed)) {
                return Err(status::permission_denied(
                    "The service account lacks the permission to read this feed.",
                ));
            }
            Ok(requested)
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
