use chrono::TimeDelta;
use parta_database::{Db, StorageError};

use super::storage;

/// The time for which an import is kept after it was finished, or after the check if it was never
/// started. Its changes and problems quote the imported files.
const IMPORT_RETENTION: TimeDelta = TimeDelta::days(90);

/// Deletes old imports with their changes and problems, one in each transaction.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    let before = db.env().now() - IMPORT_RETENTION;
    while db
        .write(|tx| async move { storage::delete_oldest(&tx, before).await })
        .await?
    {}
    Ok(())
}
