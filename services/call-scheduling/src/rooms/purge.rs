use chrono::TimeDelta;
use parta_database::{Db, StorageError};

use super::storage;

/// The time for which the members of a room are kept after it has closed. The last removals run meanwhile.
const RETENTION: TimeDelta = TimeDelta::hours(1);

/// Deletes the members of rooms that have closed.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move { storage::delete_closed(&tx, tx.now() - RETENTION).await })
        .await
}
