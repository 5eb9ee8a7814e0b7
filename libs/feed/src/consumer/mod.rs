//! The exactly-once consumer of a feed.
//!
//! A batch of events and the advance of the cursor are one transaction that locks the row of the cursor. Any
//! number of replicas may run the same consumer, and each event takes effect once. If an event cannot be
//! applied, its organization is quarantined.

mod apply;
mod quarantined;
mod release;
mod run;

use std::sync::Arc;

use async_trait::async_trait;
use parta_database::{Db, StorageError, Tx};
use parta_ids::OrgId;
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use sea_orm::DbErr;
use tokio::sync::watch;

pub use quarantined::{QuarantinedOrganization, is_quarantined, list_quarantined};

use crate::{FeedEvent, Freshness, Progress, Source};

/// The failure of an event handler.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The database failed. On a temporary failure the batch is retried; otherwise the organization is
    /// quarantined.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The event cannot be applied; its organization is quarantined.
    #[error("{0}")]
    Failed(String),
}

impl From<DbErr> for HandleError {
    fn from(error: DbErr) -> Self {
        Self::Storage(error.into())
    }
}

impl From<RpcError> for HandleError {
    fn from(refusal: RpcError) -> Self {
        // A stored value that this build does not know affects one organization. A retry would stop all
        // others.
        let is_unknown_value = refusal.is(ErrorReason::StoredValueUnknown);
        if refusal.code() == tonic::Code::Unavailable && !is_unknown_value {
            return Self::Storage(StorageError::Unavailable(refusal.to_string()));
        }
        Self::Failed(refusal.to_string())
    }
}

/// Applies the events of another service, always in the transaction that it receives.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The event type that it handles.
    type Event: FeedEvent;
    /// Applies one event. Unknown kinds are ignored.
    async fn apply(&self, tx: &Tx, event: &Self::Event) -> Result<(), HandleError>;
    /// Called before a complete snapshot is applied in this transaction. From here on the handler records
    /// what it sees.
    async fn begin_snapshot(&self, _tx: &Tx) -> Result<(), HandleError> {
        Ok(())
    }
    /// Called after the snapshot was applied. The handler deletes everything that the snapshot did not
    /// contain.
    async fn end_snapshot(&self, _tx: &Tx) -> Result<(), HandleError> {
        Ok(())
    }
}

/// Follows one feed for one projection. Cheap to clone; clones share their progress.
pub struct Consumer<S: Source, H: Handler<Event = S::Event>> {
    name: &'static str,
    db: Db,
    source: Arc<S>,
    handler: Arc<H>,
    org_id: Option<OrgId>,
    progress: watch::Sender<Progress>,
}

impl<S: Source, H: Handler<Event = S::Event>> Clone for Consumer<S, H> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            db: self.db.clone(),
            source: self.source.clone(),
            handler: self.handler.clone(),
            org_id: self.org_id,
            progress: self.progress.clone(),
        }
    }
}

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Returns a consumer. `name` is the key of the cursor: `<service>.<effect>`, for example "chat.roster".
    pub fn new(name: &'static str, db: Db, source: S, handler: H) -> Self {
        let (source, handler) = (Arc::new(source), Arc::new(handler));
        Self {
            name,
            db,
            source,
            handler,
            org_id: None,
            progress: watch::Sender::new(Progress::default()),
        }
    }

    /// Restricts the consumer to one organization.
    #[must_use]
    pub fn only(mut self, org_id: OrgId) -> Self {
        self.org_id = Some(org_id);
        self
    }

    /// Returns the freshness of the projection as known to this replica.
    pub fn freshness(&self) -> Freshness {
        Freshness::new(self.source.service(), self.progress.subscribe())
    }
}
