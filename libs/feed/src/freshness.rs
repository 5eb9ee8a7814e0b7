use std::{sync::Arc, time::Duration};

use parta_proto::parta::status::v1::ErrorReason;
use parta_status::RpcError;
use parta_storage::{ConsistencyToken, Db, ServicePosition};
use tokio::{sync::watch, time::Instant};

use crate::Cursor;

/// The metadata key by which a caller presents a consistency token; may be given several times.
pub const AT_LEAST: &str = "parta-at-least";
/// A projection that heard nothing for so long is not decided by.
pub const MAX_AGE: Duration = Duration::from_secs(30);
/// Longest that a call waits for a projection to catch up.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far a consumer has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// What was applied and committed; `None` before the first time.
    pub cursor: Option<Cursor>,
    /// When the producer last said that there is nothing more.
    pub checkpoint: Option<Instant>,
}

/// Tells how much a projection of one service's data is worth. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Freshness {
    service: &'static str,
    progress: watch::Receiver<Progress>,
}

impl Freshness {
    pub(crate) fn new(service: &'static str, progress: watch::Receiver<Progress>) -> Self {
        Self { service, progress }
    }

    /// A projection of a fixed state, for tests of what depends on one. Nothing is fresh without a sender.
    pub fn fixed(service: &'static str, progress: Progress) -> Self {
        Self {
            service,
            progress: watch::channel(progress).1,
        }
    }

    /// The service whose data it is.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// How far the consumer has come.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Refuses when the last checkpoint is older than 30 s: the decision could rest on what is no longer so.
    pub fn require(&self) -> Result<(), RpcError> {
        match self.progress().checkpoint {
            Some(at) if at.elapsed() <= MAX_AGE => Ok(()),
            _ => Err(RpcError::new(
                ErrorReason::ProjectionStale,
                format!("{} has not been heard of.", self.service),
            )
            .meta("service", self.service)
            .retry_after(Duration::from_secs(1))),
        }
    }

    /// Waits until the projection has reached the mark.
    pub async fn reach(&self, mark: &ServicePosition) -> Result<(), RpcError> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| {
            progress.cursor.is_some_and(|cursor| {
                // Incarnations are ordered by time. What a past one promised was lost with it: nothing later can keep it.
                (cursor.incarnation, cursor.position) >= (mark.incarnation, mark.position)
            })
        });
        match tokio::time::timeout(PATIENCE, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(RpcError::new(
                ErrorReason::BehindConsistencyToken,
                format!(
                    "What the token speaks of has not yet arrived from {}.",
                    self.service
                ),
            )
            .meta("service", self.service)
            .retry_after(Duration::from_secs(1))),
        }
    }
}

/// Keeps the promise of consistency tokens for one service. Cheap to clone.
#[derive(Clone)]
pub struct AtLeast {
    db: Db,
    consumed: Arc<[Freshness]>,
}

impl AtLeast {
    /// `consumed` are the projections that the service decides by.
    pub fn new(db: Db, consumed: impl IntoIterator<Item = Freshness>) -> Self {
        Self {
            db,
            consumed: consumed.into_iter().collect(),
        }
    }

    /// Waits, at most two seconds, until the service knows everything of the token that it consumes. Its own data it
    /// reads from its own primary; of services that it does not consume it shows nothing.
    pub async fn wait(&self, token: &str) -> Result<(), RpcError> {
        let token = ConsistencyToken::decode(token, self.db.secrets())?;
        let waits = token.marks().iter().flat_map(|mark| {
            self.consumed
                .iter()
                .filter(|f| f.service == mark.service)
                .map(move |f| f.reach(mark))
        });
        futures::future::try_join_all(waits).await.map(|_| ())
    }

    /// The same for the metadata of a call, which may carry no token, one, or one of each service that was called.
    pub async fn wait_for(&self, metadata: &tonic::metadata::MetadataMap) -> Result<(), RpcError> {
        let waits = metadata.get_all(AT_LEAST).into_iter().map(|value| async move {
            let text = value
                .to_str()
                .map_err(|_| parta_status::invalid(AT_LEAST, "must be a consistency token"))?;
            self.wait(text).await
        });
        futures::future::try_join_all(waits).await.map(|_| ())
    }
}
