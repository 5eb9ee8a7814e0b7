use parta_database::{Db, StorageError};

use super::storage;
use crate::sign_in::FLOW_RETENTION;

/// Deletes the changes whose codes have been deleted too.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move { storage::delete_old(&tx, tx.now() - FLOW_RETENTION).await })
        .await
}
