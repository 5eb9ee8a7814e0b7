use parta_database::{Db, StorageError};

use super::storage;

/// Revokes the keys of all service accounts in a database that was restored from a backup, and returns their
/// number. The accounts stay, and an administrator creates new keys for those that are still wanted.
///
/// The database does not know which keys and accounts were revoked after the backup, so that it cannot keep
/// the others. Access tokens live without their key for up to ten minutes: the signing key must be replaced,
/// too.
pub async fn revoke_all_service_account_keys(db: &Db) -> Result<u64, StorageError> {
    db.write(|tx| async move { storage::revoke_all_keys(&tx, tx.now()).await })
        .await
}
