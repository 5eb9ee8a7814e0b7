use chrono::TimeDelta;
use parta_database::{Db, StorageError};

use super::storage;

/// The time for which a room is kept after it has closed. The last looks into it run meanwhile.
const RETENTION: TimeDelta = TimeDelta::hours(1);

/// Deletes the rooms that have closed, and the people who were admitted to them.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move { storage::delete_closed(&tx, tx.now() - RETENTION).await })
        .await
}
