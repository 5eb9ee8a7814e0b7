use chrono::{DateTime, Utc};
use parta_database::{StorageError, Tx};
use parta_ids::{OrgId, TypedId};
use parta_jobs::enqueue_at;

use super::{EndingKind, JOB, storage};

/// Ends a fact at a time by an event. The job runs within five seconds of the time, on any replica.
pub(crate) async fn schedule(
    tx: &Tx,
    org: OrgId,
    kind: EndingKind,
    id: impl TypedId,
    due_time: DateTime<Utc>,
) -> Result<(), StorageError> {
    storage::put(tx, org, kind, id.uuid(), due_time).await?;
    // A job ends everything that is due in the organization. Another time of the same fact needs another job.
    let request_id = tx.env().ids.uuid();
    enqueue_at(tx, JOB, Some(org), Vec::new(), request_id, due_time).await
}

/// Forgets the time of a fact that has ended. A job that finds nothing due does nothing.
pub(crate) async fn forget(
    tx: &Tx,
    org: OrgId,
    kind: EndingKind,
    id: impl TypedId,
) -> Result<(), StorageError> {
    storage::delete(tx, org, kind, id.uuid()).await
}
