//! The exactly-once consumer of a feed.
//!
//! The events of one organization are applied in batches. A batch and the advance of the cursor of the
//! organization are one transaction that locks the row of the cursor. Any number of replicas may run the same
//! consumer, and each event takes effect once. If the events of an organization cannot be applied, its
//! projection is replaced by a snapshot; if that fails as well, the organization is quarantined. It is also
//! quarantined if the source has lost events that were applied here: a snapshot would undo their effects.
//! Other organizations continue.

mod apply;
mod breaker;
mod group;
mod heads;
mod lag;
mod progress;
mod quarantine;
mod registry;
mod work;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use parta_database::{Db, StorageError, Tx};
use parta_ids::OrgId;
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use sea_orm::DbErr;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use apply::list_cursors;
pub use lag::Lag;
pub(crate) use progress::{Age, Progress};
pub use quarantine::{
    EVENTS_LOST, QuarantinedOrganization, find_quarantined, list_quarantined, lock_quarantined, rebuild,
    retry, skip,
};
pub use registry::{ConsumerHandle, consumers};

use crate::{FeedEvent, Freshness, Snapshot, Source};

/// The failure of an event handler.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The database failed. A temporary failure is retried; otherwise the projection of the organization is
    /// replaced by a snapshot.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The events cannot be applied.
    #[error("{0}")]
    Failed(String),
}

impl From<DbErr> for HandleError {
    fn from(error: DbErr) -> Self {
        Self::Storage(error.into())
    }
}

impl From<prost::DecodeError> for HandleError {
    fn from(_: prost::DecodeError) -> Self {
        Self::Failed("an event of the snapshot is malformed".to_owned())
    }
}

impl From<RpcError> for HandleError {
    fn from(refusal: RpcError) -> Self {
        // A stored value that this build does not know affects one organization. A retry would not cure it.
        let is_unknown_value = refusal.is(ErrorReason::StoredValueUnknown);
        if refusal.code() == tonic::Code::Unavailable && !is_unknown_value {
            return Self::Storage(StorageError::Unavailable(refusal.to_string()));
        }
        // The message of a refusal may quote a name.
        Self::Failed(format!("refused: {}", refusal.reason()))
    }
}

/// Applies the events of another service, always in the transaction that it receives. It writes rows of a
/// projection and jobs, nothing that a rule of this service could refuse.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The event type that it handles.
    type Event: FeedEvent;
    /// Applies consecutive events of one organization. Unknown kinds are ignored.
    async fn apply(&self, tx: &Tx, org_id: OrgId, events: &[Self::Event]) -> Result<(), HandleError>;
    /// Replaces the projection of the organization by the state that the events of a snapshot build from
    /// nothing. Readers see the old projection until the transaction commits.
    async fn replace(
        &self,
        tx: &Tx,
        org_id: OrgId,
        snapshot: &Snapshot<Self::Event>,
    ) -> Result<(), HandleError>;
}

/// Follows one feed for one projection. Cheap to clone; clones share their progress.
pub struct Consumer<S: Source, H: Handler<Event = S::Event>> {
    name: &'static str,
    db: Db,
    source: Arc<S>,
    handler: Arc<H>,
    progress: Arc<Progress>,
    breaker: Arc<breaker::Breaker>,
    /// Consecutive failures by organization.
    failures: Arc<Mutex<HashMap<OrgId, u32>>>,
    /// Limits the workers that read a snapshot, so that the others apply events meanwhile.
    snapshots: Arc<Semaphore>,
    writing: Arc<Writing>,
}

/// On SQLite, one worker writes at a time.
struct Writing(Option<tokio::sync::Mutex<()>>);

impl Writing {
    async fn lock(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match &self.0 {
            Some(mutex) => Some(mutex.lock().await),
            None => None,
        }
    }
}

/// The number of workers that read a snapshot at a time.
const SNAPSHOTS: usize = 2;

impl<S: Source, H: Handler<Event = S::Event>> Clone for Consumer<S, H> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            db: self.db.clone(),
            source: self.source.clone(),
            handler: self.handler.clone(),
            progress: self.progress.clone(),
            breaker: self.breaker.clone(),
            failures: self.failures.clone(),
            snapshots: self.snapshots.clone(),
            writing: self.writing.clone(),
        }
    }
}

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Returns a consumer. `name` is the key of its cursors: `<service>.<effect>`, for example "chat.roster".
    pub fn new(name: &'static str, db: Db, source: S, handler: H) -> Self {
        let (source, handler) = (Arc::new(source), Arc::new(handler));
        let (progress, breaker): (Arc<Progress>, Arc<breaker::Breaker>) = Default::default();
        registry::register(&db, name, source.service(), progress.clone(), breaker.clone());
        let writing = Writing((!db.is_postgres()).then(tokio::sync::Mutex::default));
        Self {
            name,
            db,
            source,
            handler,
            progress,
            breaker,
            failures: Arc::default(),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
            writing: Arc::new(writing),
        }
    }

    /// Returns the freshness of the projection as known to this replica.
    pub fn freshness(&self) -> Freshness {
        Freshness::new(self.source.service(), self.progress.clone())
    }

    /// Follows the feed until canceled. A batch in progress is committed or rolled back.
    pub async fn run(&self, cancel: CancellationToken) {
        let all = async {
            futures::join!(self.follow_heads(), self.work());
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = all => {}
        }
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<OrgId, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a growing wait after consecutive failures, with a random part.
    fn backoff(&self, failures: u32) -> Duration {
        let mut random = [0; 2];
        self.db.env().ids.fill(&mut random);
        let max = Duration::from_millis(50 << failures.min(10)).min(MAX_BACKOFF);
        max / 2 + max.mul_f64(f64::from(u16::from_be_bytes(random)) / 131_072.0)
    }
}

const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// The number of consecutive failures that are logged at DEBUG only, because services start and stop.
const QUIET_FAILURES: u32 = 5;
