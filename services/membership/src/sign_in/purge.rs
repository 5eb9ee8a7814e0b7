use parta_database::{Db, StorageError};

use super::{
    model::{FAILURES_RETENTION, FLOW_RETENTION},
    storage::{self, limits},
};

/// Deletes flows that have expired, limits that limit nothing, and wrong codes that are no longer counted.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move {
        let now = tx.now();
        storage::delete_flows(&tx, now - FLOW_RETENTION).await?;
        limits::delete_full(&tx, now).await?;
        limits::delete_old_failures(&tx, now - FAILURES_RETENTION).await
    })
    .await
}
