//! The jobs that look into rooms: one at a time for each room.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use serde::{Deserialize, Serialize};

use super::model::{OpenRoom, Room};

/// The kind of the jobs.
pub(crate) const JOB: &str = "call_scheduling.room_look";

/// The input of a job.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) room: Room,
    /// The last time when people were found in the room.
    pub(crate) found_time: Option<DateTime<Utc>>,
}

impl Look {
    fn encode(&self) -> Result<Vec<u8>, StorageError> {
        serde_json::to_vec(self).map_err(|error| StorageError::Fault(error.to_string()))
    }
}

/// Enqueues the next look into a room at a time, unless there is one.
pub(super) async fn look_at(
    tx: &Tx,
    scope: &OrgScope,
    open: &OpenRoom,
    found_time: Option<DateTime<Utc>>,
    due: DateTime<Utc>,
) -> Result<(), StorageError> {
    let room = open.room;
    let payload = Look { room, found_time }.encode()?;
    parta_jobs::enqueue_at(tx, JOB, Some(scope.org_id()), payload, open.look_id, due).await
}

/// Makes the next look into a room due at once, also if it has failed for good.
pub(super) async fn look_now(tx: &Tx, scope: &OrgScope, open: &OpenRoom) -> Result<(), StorageError> {
    let (room, found_time) = (open.room, None);
    let payload = Look { room, found_time }.encode()?;
    parta_jobs::enqueue_again(tx, JOB, Some(scope.org_id()), payload, open.look_id).await
}
