use parta_database::{Db, StorageError};

use super::{
    model::{ENDED_RETENTION, SESSION_IDLE},
    storage,
};

/// Deletes sessions that ended or were left idle, with their refresh tokens.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move {
        let ended = tx.now() - ENDED_RETENTION;
        storage::delete_old(&tx, ended, ended - SESSION_IDLE).await
    })
    .await
}
