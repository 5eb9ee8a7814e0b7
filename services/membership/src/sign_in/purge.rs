use parta_database::{Db, StorageError};

use super::{
    model::{COUNTER_RETENTION, FAILURES_RETENTION, FLOW_RETENTION},
    storage,
};

/// Deletes flows that have expired and counters that limit nothing.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move {
        let now = tx.now();
        storage::delete_flows(&tx, now - FLOW_RETENTION).await?;
        storage::delete_counters(&tx, now, now - COUNTER_RETENTION, now - FAILURES_RETENTION).await
    })
    .await
}
