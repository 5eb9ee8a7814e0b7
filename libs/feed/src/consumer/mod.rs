//! The exactly-once consumer of a feed.
//!
//! A batch of events and the move of the cursor are one transaction that locks the cursor's row: any number of
//! replicas may run the same consumer, each event takes effect once. What cannot be applied parks its organization.

mod apply;
mod quarantined;
mod run;

use std::sync::Arc;

use async_trait::async_trait;
use parta_ids::OrgId;
use parta_status::RpcError;
use parta_storage::{Db, StorageError, Tx};
use sea_orm::DbErr;
use tokio::sync::watch;

pub use quarantined::{ParkedOrganization, is_quarantined, list_parked};

use crate::{FeedEvent, Freshness, Progress, Source};

/// Why an event could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The database failed. When that may pass the batch is repeated, else the organization is quarantined.
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
        if refusal.code() == tonic::Code::Unavailable {
            return Self::Storage(StorageError::Unavailable(refusal.to_string()));
        }
        Self::Failed(refusal.to_string())
    }
}

/// What a service does about the events of another one, always in the transaction that it is given.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The events that it understands.
    type Event: FeedEvent;
    /// Applies one event. Kinds that it does not know it skips.
    async fn apply(&self, tx: &Tx, event: &Self::Event) -> Result<(), HandleError>;
    /// A whole snapshot follows in this transaction: from here on note what is seen.
    async fn begin_snapshot(&self, _tx: &Tx) -> Result<(), HandleError> {
        Ok(())
    }
    /// The snapshot was applied: what was not seen in it goes.
    async fn end_snapshot(&self, _tx: &Tx) -> Result<(), HandleError> {
        Ok(())
    }
}

/// Follows one feed on behalf of one projection. Cheap to clone; clones share their progress.
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
    /// `name` keys the cursor: `<service>.<effect>`, for example "chat.roster".
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

    /// Follows one organization only.
    #[must_use]
    pub fn only(mut self, org_id: OrgId) -> Self {
        self.org_id = Some(org_id);
        self
    }

    /// How far this replica knows the projection to be.
    pub fn freshness(&self) -> Freshness {
        Freshness::new(self.source.service(), self.progress.subscribe())
    }
}
