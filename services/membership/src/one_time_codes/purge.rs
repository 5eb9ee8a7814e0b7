use parta_database::{Db, StorageError};

use super::{model::RETENTION, storage};

/// Deletes codes that were requested long ago.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move { storage::delete_old(&tx, tx.now() - RETENTION).await })
        .await
}
