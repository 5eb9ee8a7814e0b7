use parta_database::{Db, StorageError};

use super::storage::changes;

/// Closes the changes of roles of all organizations in a database that was restored from a backup, and
/// returns their number.
///
/// The database does not know which of them were undone after the backup, nor which decisions were made since
/// that an undo would not respect.
pub async fn close_role_changes(db: &Db) -> Result<u64, StorageError> {
    db.write(|tx| async move { changes::close_all(&tx, tx.now()).await })
        .await
}
