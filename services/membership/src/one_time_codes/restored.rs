use parta_database::{Db, StorageError};

use super::storage;

/// Deletes the codes in a database that was restored from a backup, and returns their number. The database
/// does not know which of them were used or revoked after the backup, and the sessions that they started have
/// ended.
pub async fn delete_one_time_codes(db: &Db) -> Result<u64, StorageError> {
    db.write(|tx| async move { storage::delete_all(&tx).await }).await
}
