use chrono::TimeDelta;
use parta_database::{Db, StorageError};

use super::storage;

/// The time for which a join flow is kept after its latest ticket. An acceptance that was interrupted
/// is repeated for two days, and a `request_id` for 30 days.
const JOIN_FLOW_RETENTION: TimeDelta = TimeDelta::days(31);

/// Deletes join flows without a recent ticket.
pub(crate) async fn purge(db: &Db) -> Result<(), StorageError> {
    db.write(|tx| async move { storage::delete_join_flows(&tx, tx.now() - JOIN_FLOW_RETENTION).await })
        .await
}
