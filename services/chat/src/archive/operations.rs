//! Keeps the log that is written to small: moves entries to the archive when they are old enough.
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parta_storage::{Db, StorageError};
use tokio_util::sync::CancellationToken;

use super::storage::{self, Step};

/// Entries of one transaction.
const BATCH: u64 = 1_000;
/// Between two transactions, so that messages go first.
const PAUSE: Duration = Duration::from_millis(10);

/// Archives what is older than so many days, once an hour, until cancelled. Zero days: never.
pub(crate) async fn run(db: Db, days: u32, cancel: CancellationToken) {
    if days == 0 {
        return cancel.cancelled().await;
    }
    loop {
        let horizon = db.env().now() - TimeDelta::days(days.into());
        match pass(&db, horizon, BATCH, &cancel).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "entries archived"),
            Err(error) => tracing::warn!(%error, "archiving entries failed"),
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
        }
    }
}

/// Goes on to the last chat, unless another replica does; answers how many entries were moved.
pub(crate) async fn pass(
    db: &Db,
    horizon: DateTime<Utc>,
    batch: u64,
    cancel: &CancellationToken,
) -> Result<u64, StorageError> {
    let mut count = 0;
    while !cancel.is_cancelled() {
        match storage::archive_step(db, horizon, batch).await? {
            Step::Moved(moved) => count += moved,
            Step::Walked => {}
            Step::Finished | Step::Busy => break,
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    Ok(count)
}
