use parta_database::{Db, StorageError};

use super::{
    model::{FAILURES_RETENTION, FLOW_RETENTION},
    storage::{self, failures},
};

/// Deletes flows that have expired, and wrong codes that are no longer counted.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move {
        let now = tx.now();
        storage::delete_flows(&tx, now - FLOW_RETENTION).await?;
        failures::delete_old(&tx, now - FAILURES_RETENTION).await
    })
    .await
}
