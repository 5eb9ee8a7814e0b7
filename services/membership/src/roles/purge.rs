use chrono::TimeDelta;
use parta_database::{Db, StorageError};

use super::{model::UNDO_TIME, storage::changes};

/// The time for which a change is kept, with its author: as long as the idempotency record of its undo.
const RETENTION: TimeDelta = TimeDelta::days(30);

/// Deletes changes of roles of long ago, and the ids of what ended with changes that can no longer be undone.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move {
        let now = tx.now();
        changes::delete_old(&tx, now - UNDO_TIME, now - RETENTION).await
    })
    .await
}
