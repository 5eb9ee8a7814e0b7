//! The consumers of a database, for the operator.
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use parta_database::Db;
use parta_ids::OrgId;

use super::{breaker::Breaker, lag::Lag, progress::Progress};

/// A consumer of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConsumerHandle {
    /// The name of the consumer.
    pub name: &'static str,
    /// The service whose events it applies.
    pub source: &'static str,
    progress: Arc<Progress>,
    breaker: Arc<Breaker>,
}

#[derive(Default)]
struct Registry(Mutex<Vec<ConsumerHandle>>);

/// Adds a consumer. One of the same name, from which it takes over, is replaced.
pub(super) fn register(
    db: &Db,
    name: &'static str,
    source: &'static str,
    progress: Arc<Progress>,
    breaker: Arc<Breaker>,
) {
    let registry = db.shared::<Registry>();
    let mut consumers = registry.0.lock().unwrap_or_else(PoisonError::into_inner);
    consumers.retain(|consumer| consumer.name != name);
    consumers.push(ConsumerHandle {
        name,
        source,
        progress,
        breaker,
    });
}

/// Returns the consumers of this process that write to the database.
pub fn consumers(db: &Db) -> Vec<ConsumerHandle> {
    let registry = db.shared::<Registry>();
    let consumers = registry.0.lock().unwrap_or_else(PoisonError::into_inner);
    consumers.clone()
}

impl ConsumerHandle {
    /// Returns how long ago the last heartbeat of the source was, and the organizations that are behind.
    pub fn lags(&self) -> (Option<Duration>, Vec<Lag>) {
        self.progress.lags()
    }

    /// Returns the organizations whose source has not published an ending in time, and how late it is.
    pub fn overdue_endings(&self) -> Vec<(OrgId, Duration)> {
        self.progress.overdue_endings()
    }

    /// Returns whether so many organizations fail that none is quarantined any more.
    pub fn is_breaker_open(&self) -> bool {
        self.breaker.is_open(self.progress.organizations())
    }

    /// Looks at an organization before all others.
    pub(super) fn request(&self, org_id: OrgId) {
        self.progress.request(org_id);
    }
}
