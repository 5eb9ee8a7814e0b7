use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Fair (FIFO) write lock for an SQLite database. On PostgreSQL it does not block.
#[derive(Clone, Debug)]
pub struct WriteLock(Option<Arc<Mutex<()>>>);

/// Holds the write lock until it is dropped.
#[derive(Debug)]
pub struct WriteGuard(#[expect(dead_code, reason = "held for its drop")] Option<OwnedMutexGuard<()>>);

impl WriteLock {
    pub(crate) fn new(one_writer: bool) -> Self {
        Self(one_writer.then(Arc::default))
    }

    /// Acquires the lock. `tokio`'s mutex is fair: it serves waiters in FIFO order.
    pub async fn acquire(&self) -> WriteGuard {
        match &self.0 {
            Some(mutex) => WriteGuard(Some(mutex.clone().lock_owned().await)),
            None => WriteGuard(None),
        }
    }
}
