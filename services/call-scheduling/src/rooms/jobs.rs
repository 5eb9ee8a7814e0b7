//! The jobs that judge whether a member may stay in a room.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_ids::MemberId;
use serde::{Deserialize, Serialize};

use super::model::{Entrant, Room};

/// The kind of the jobs.
pub(crate) const JOB: &str = "call_scheduling.room_entrant";

/// The input of a job.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Judgment {
    pub(crate) room: Room,
    pub(crate) member_id: MemberId,
    /// The removal that the job carries out, or repeats; `None` for a job that a change of facts enqueued.
    pub(crate) removal: Option<DateTime<Utc>>,
}

impl Judgment {
    fn encode(&self) -> Result<Vec<u8>, StorageError> {
        serde_json::to_vec(self).map_err(|error| StorageError::Fault(error.to_string()))
    }
}

/// Enqueues the judgment of a member of a room.
pub(super) async fn judge(tx: &Tx, scope: &OrgScope, of: &Entrant) -> Result<(), StorageError> {
    let judgment = Judgment {
        room: of.room,
        member_id: of.member_id,
        removal: None,
    };
    let (payload, id) = (judgment.encode()?, tx.env().ids.uuid());
    parta_jobs::enqueue(tx, JOB, Some(scope.org_id()), payload, id).await
}

/// Enqueues a removal of a member who must be out since `removed`: at once, or at a later time.
pub(crate) async fn remove(
    tx: &Tx,
    scope: &OrgScope,
    of: &Entrant,
    removed: DateTime<Utc>,
    due: Option<DateTime<Utc>>,
) -> Result<(), StorageError> {
    let judgment = Judgment {
        room: of.room,
        member_id: of.member_id,
        removal: Some(removed),
    };
    let (payload, id, org) = (judgment.encode()?, tx.env().ids.uuid(), Some(scope.org_id()));
    match due {
        None => parta_jobs::enqueue(tx, JOB, org, payload, id).await,
        Some(due) => parta_jobs::enqueue_at(tx, JOB, org, payload, id, due).await,
    }
}
