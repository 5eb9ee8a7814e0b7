use chrono::TimeDelta;
use parta_database::{Db, StorageError};

use super::storage;

/// The time for which the development outbox keeps a message. Its code is valid for minutes.
const MESSAGE_RETENTION: TimeDelta = TimeDelta::days(1);

/// Deletes old messages of the development outbox.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move { storage::delete_old(&tx, tx.now() - MESSAGE_RETENTION).await })
        .await
}
