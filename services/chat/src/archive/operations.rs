use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parta_database::{Db, StorageError};
use tokio_util::sync::CancellationToken;

use super::storage::{self, Step};

/// At most this many entries in one transaction.
const BATCH_MAX_ENTRIES: u64 = 1_000;
/// Between two transactions, so that messages are not delayed.
const PAUSE_BETWEEN_BATCHES: Duration = Duration::from_millis(10);

/// Between two passes through all chats.
pub(crate) const INTERVAL: Duration = Duration::from_hours(1);

/// Archives entries older than this many days.
pub(crate) async fn run(db: &Db, days: u32, cancel: &CancellationToken) -> Result<(), StorageError> {
    let horizon = db.env().now() - TimeDelta::days(days.into());
    let count = archive_all(db, horizon, BATCH_MAX_ENTRIES, cancel).await?;
    if count > 0 {
        tracing::info!(count, "archived old entries");
    }
    Ok(())
}

/// Archives up to the last chat, unless another replica does. Returns the number of entries moved.
pub(crate) async fn archive_all(
    db: &Db,
    horizon: DateTime<Utc>,
    batch: u64,
    cancel: &CancellationToken,
) -> Result<u64, StorageError> {
    let mut count = 0;
    while !cancel.is_cancelled() {
        match storage::archive_step(db, horizon, batch).await? {
            Step::Moved(moved) => count += moved,
            Step::Checked | Step::Skipped => {}
            Step::Finished | Step::Busy => break,
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(PAUSE_BETWEEN_BATCHES) => {}
        }
    }
    Ok(count)
}
