use std::{sync::Arc, time::Duration};

use parta_database::Db;
use parta_mutations::{ConsistencyToken, ServicePosition};
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use tokio::{sync::watch, time::Instant};

use crate::Cursor;

/// The metadata key by which a caller presents a consistency token. It may occur several times.
pub const AT_LEAST: &str = "parta-at-least";
/// The age of the last checkpoint after which a projection is stale and no decision uses it.
pub const MAX_AGE: Duration = Duration::from_secs(30);
/// The longest wait of a call until a projection catches up.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The progress of a consumer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// The cursor that was applied and committed; `None` before the first commit.
    pub cursor: Option<Cursor>,
    /// The time of the last checkpoint, at which the producer had no further events.
    pub checkpoint: Option<Instant>,
}

/// The freshness of a projection of the data of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Freshness {
    service: &'static str,
    progress: watch::Receiver<Progress>,
}

impl Freshness {
    pub(crate) fn new(service: &'static str, progress: watch::Receiver<Progress>) -> Self {
        Self { service, progress }
    }

    /// Returns a projection with a fixed state, for tests. It never becomes fresher, because it has no
    /// sender.
    pub fn fixed(service: &'static str, progress: Progress) -> Self {
        Self {
            service,
            progress: watch::channel(progress).1,
        }
    }

    /// Returns the name of the service that owns the data.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// Returns the progress of the consumer.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until the projection was complete once. Never returns if its consumer has ended before.
    pub async fn completed(&self) {
        let mut progress = self.progress.clone();
        let complete = progress.wait_for(|progress| progress.checkpoint.is_some());
        if complete.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns an error if the last checkpoint is older than 30 s, because decisions could be based on old
    /// data.
    pub fn require(&self) -> Result<(), RpcError> {
        match self.progress().checkpoint {
            Some(at) if at.elapsed() <= MAX_AGE => Ok(()),
            _ => Err(RpcError::new(
                ErrorReason::ProjectionStale,
                format!("The data of {} is too old. Try again later.", self.service),
            )
            .meta("service", self.service)
            .retry_after(Duration::from_secs(1))),
        }
    }

    /// Waits until the projection has reached the position.
    pub async fn reach(&self, position: &ServicePosition) -> Result<(), RpcError> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| {
            progress.cursor.is_some_and(|cursor| {
                // Incarnations are ordered by time. Positions of an earlier incarnation were lost with it, so
                // waiting for them is useless.
                (cursor.incarnation, cursor.position) >= (position.incarnation, position.position)
            })
        });
        match tokio::time::timeout(MAX_WAIT, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(RpcError::new(
                ErrorReason::BehindConsistencyToken,
                format!(
                    "The data of {} has not yet reached the state of the consistency token. Try again.",
                    self.service
                ),
            )
            .meta("service", self.service)
            .retry_after(Duration::from_secs(1))),
        }
    }
}

/// Enforces consistency tokens for one service. Cheap to clone.
#[derive(Clone)]
pub struct AtLeast {
    db: Db,
    consumed: Arc<[Freshness]>,
}

impl AtLeast {
    /// Returns a checker. `consumed` are the projections on which the service bases decisions.
    pub fn new(db: Db, consumed: impl IntoIterator<Item = Freshness>) -> Self {
        Self {
            db,
            consumed: consumed.into_iter().collect(),
        }
    }

    /// Waits at most two seconds until the service has applied everything in the token that it consumes. A
    /// service reads its own data from its own primary, and exposes no data of services that it does not
    /// consume.
    pub async fn wait(&self, token: &str) -> Result<(), RpcError> {
        let token = ConsistencyToken::decode(token, self.db.secrets())?;
        let waits = token.marks().iter().flat_map(|position| {
            self.consumed
                .iter()
                .filter(|f| f.service == position.service)
                .map(move |f| f.reach(position))
        });
        futures::future::try_join_all(waits).await.map(|_| ())
    }

    /// Waits for all tokens in the metadata of a call: none, one, or one per called service.
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn projection_completes_at_its_first_checkpoint() {
        let (progress, receiver) = watch::channel(Progress::default());
        let freshness = Freshness::new("membership", receiver);
        assert!(freshness.completed().now_or_never().is_none());
        progress.send_modify(|progress| progress.checkpoint = Some(Instant::now()));
        assert!(freshness.completed().now_or_never().is_some());
        // A consumer that ended before completes nothing.
        let ended = Freshness::fixed("membership", Progress::default());
        assert!(ended.completed().now_or_never().is_none());
    }
}
