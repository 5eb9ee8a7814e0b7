use std::{sync::Arc, time::Duration};

use parta_database::Db;
use parta_ids::OrgId;
use parta_mutations::{ConsistencyToken, ServicePosition};
use parta_proto::status::v1::ErrorReason;
use parta_status::{RpcError, quarantined, stale};
use tokio::{sync::watch, time::Instant};

use crate::consumer::{Age, Progress};

/// The metadata key by which a caller presents a consistency token. It may occur several times.
pub const AT_LEAST: &str = "parta-at-least";
/// The age after which the projection of an organization is stale and no decision uses it.
pub const MAX_AGE: Duration = Duration::from_secs(30);
/// The longest wait of a call until a projection catches up.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The freshness of a projection of the data of one service, for each organization. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Freshness {
    service: &'static str,
    /// `None` for a projection that the service changes in the transaction of the fact.
    progress: Option<Arc<Progress>>,
}

impl Freshness {
    pub(crate) fn new(service: &'static str, progress: Arc<Progress>) -> Self {
        Self {
            service,
            progress: Some(progress),
        }
    }

    /// Returns the freshness of a projection that is never stale, because the service changes it in the
    /// transaction of the fact.
    pub fn always(service: &'static str) -> Self {
        Self {
            service,
            progress: None,
        }
    }

    /// Returns the name of the service that owns the data.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// Returns whether the backlog of the start was applied.
    pub fn is_complete(&self) -> bool {
        self.progress
            .as_ref()
            .is_none_or(|progress| progress.is_complete())
    }

    /// Returns a receiver that is notified after each step of the consumer, for example when it has applied
    /// events or has failed to. `None` for a projection that is never stale.
    pub fn steps(&self) -> Option<watch::Receiver<u64>> {
        self.progress.as_ref().map(|progress| progress.subscribe())
    }

    /// Waits until the backlog of the start was applied. Organizations whose events fail do not delay it.
    pub async fn completed(&self) {
        let Some(progress) = &self.progress else {
            return;
        };
        let mut changed = progress.subscribe();
        while !progress.is_complete() {
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Refuses a decision about an organization if it could be based on old data: if the projection was not
    /// complete within the last 30 s, or its consumer has quarantined the organization.
    pub fn require(&self, org_id: OrgId) -> Result<(), RpcError> {
        let Some(progress) = &self.progress else {
            return Ok(());
        };
        match progress.age(org_id) {
            Age::Known(age) if age <= MAX_AGE => Ok(()),
            Age::Quarantined => Err(quarantined(self.service)),
            Age::Known(_) | Age::Unknown => Err(stale(self.service)),
        }
    }

    /// Waits until the projection of the organization has reached the position. A position of another epoch
    /// than that of the log, or one that the log does not reach after it was restored, is void.
    pub async fn reach(&self, org_id: OrgId, position: &ServicePosition) -> Result<(), RpcError> {
        let Some(progress) = &self.progress else {
            return Ok(());
        };
        let began = Instant::now();
        let reached = async {
            let mut changed = progress.subscribe();
            let mut has_hinted = false;
            loop {
                let cursor = progress.cursor(org_id);
                if cursor.is_some_and(|cursor| cursor.covers(position.epoch, position.position))
                    || progress.is_void(org_id, position.epoch, position.position, began)
                {
                    return;
                }
                // The caller knows of the events before the heads announce them.
                if !std::mem::replace(&mut has_hinted, true) {
                    progress.hint(org_id);
                }
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(MAX_WAIT, reached).await.map_err(|_| {
            RpcError::new(
                ErrorReason::BehindConsistencyToken,
                format!(
                    "The data of {} has not yet reached the state of the consistency token. Try again.",
                    self.service
                ),
            )
            .meta("service", self.service)
            .retry_after(Duration::from_secs(1))
        })
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
        let Some(token) = ConsistencyToken::decode(token, self.db.secrets())? else {
            return Ok(());
        };
        let org_id = token.org_id();
        let waits = token.positions().iter().flat_map(|position| {
            self.consumed
                .iter()
                .filter(|f| f.service == position.service)
                .map(move |f| f.reach(org_id, position))
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
