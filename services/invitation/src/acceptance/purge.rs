use chrono::TimeDelta;
use parta_database::{Db, StorageError};

use super::storage;

/// The time for which a reservation is kept after its release, so that a repeated AcceptInvitation
/// finds it. One that made a member is kept, because it says by which link the member joined.
const RELEASED_RETENTION: TimeDelta = TimeDelta::days(31);

/// Deletes reservations that were released.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move { storage::delete_released(&tx, tx.now() - RELEASED_RETENTION).await })
        .await
}
