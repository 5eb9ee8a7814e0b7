use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// The one door to writing an SQLite file: whoever asked first writes first, so that nobody starves.
/// On PostgreSQL the door stands open.
#[derive(Clone, Debug)]
pub struct WriteLock(Option<Arc<Mutex<()>>>);

/// Permission to write until it is dropped.
#[derive(Debug)]
pub struct WriteGuard(#[expect(dead_code, reason = "held for its drop")] Option<OwnedMutexGuard<()>>);

impl WriteLock {
    pub(crate) fn new(one_writer: bool) -> Self {
        Self(one_writer.then(Arc::default))
    }

    /// Waits for the turn. Fair: `tokio`'s mutex serves in the order of asking.
    pub async fn enter(&self) -> WriteGuard {
        match &self.0 {
            Some(mutex) => WriteGuard(Some(mutex.clone().lock_owned().await)),
            None => WriteGuard(None),
        }
    }
}
