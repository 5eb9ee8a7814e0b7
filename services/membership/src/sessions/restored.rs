use parta_database::{Db, StorageError};

use super::storage;

/// Ends the sessions of all people in a database that was restored from a backup, and returns their number.
///
/// The database does not know which sessions were ended or refreshed after the backup, so that it cannot keep
/// the others. Access tokens live without their session for up to ten minutes: the signing key must be
/// replaced, too.
pub async fn end_all_sessions(db: &Db) -> Result<u64, StorageError> {
    db.write(|tx| async move { storage::update_all_ended(&tx, tx.now()).await })
        .await
}
