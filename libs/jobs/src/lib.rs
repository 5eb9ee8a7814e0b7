//! Durable jobs: effects outside the database (mail, calls to other services) that a committed transaction
//! requires.
//!
//! A job is a row written in the transaction of its cause. It runs at least once, under a lease, on one
//! replica at a time. Its `request_id` is derived from its cause, so that its effect happens once if the
//! callee detects repetitions.
//!
//! The lease and the wait for another attempt end by the clock of the database, and a running attempt renews
//! its lease. A replica that vanishes loses its jobs after a minute, and an attempt may run for hours. Each
//! kind has its own [`Limits`], also for the jobs of one organization, so that a stalled destination or a
//! long import delays no other kind.
#![warn(missing_docs)]

mod lease;
mod limits;
mod migrations;
mod operator;
mod runner;
mod wake;

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use parta_database::{StorageError, Tx};
use parta_ids::{JobId, OrgId, TypedId};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use wake::Wake;

pub use limits::Limits;
pub use migrations::migrations;
pub use operator::{
    FAILED_RETENTION, JobFilter, JobRecord, JobState, count_failed, delete, find, list, lock,
    organizations_due, purge, retry,
};
pub use runner::{JobError, JobHandler, JobRunner};

/// A job that is running.
#[derive(Debug, Clone)]
pub struct Job {
    /// The id of the job.
    pub job_id: JobId,
    /// The organization for which the job runs.
    pub org_id: Option<OrgId>,
    /// The kind of the job, which selects the handler.
    pub kind: String,
    /// The input of the handler.
    pub payload: Vec<u8>,
    /// The `request_id` of every call that the job makes.
    pub request_id: Uuid,
    /// The number of attempts, including the current one.
    pub attempts: i32,
    /// The time when the job was enqueued.
    pub create_time: DateTime<Utc>,
    progress: Progress,
    stopping: CancellationToken,
}

impl Job {
    /// Reports how many of how many steps are done. An operator sees it within ten seconds.
    pub fn report(&self, done: i64, total: i64) {
        self.progress.set(done, total);
    }

    /// Whether the process stops. A handler that runs for long returns [`JobError::Interrupted`] at the next
    /// step.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }
}

/// Steps that are done, and all steps.
#[derive(Debug, Clone, Default)]
struct Progress(Arc<Mutex<Option<(i64, i64)>>>);

impl Progress {
    fn set(&self, done: i64, total: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((done, total));
    }

    fn get(&self) -> Option<(i64, i64)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enqueues a job that runs right after the commit, whatever the clocks show. A duplicate of the same kind
/// and `request_id` is ignored.
pub async fn enqueue(
    tx: &Tx,
    kind: &str,
    org_id: Option<OrgId>,
    payload: Vec<u8>,
    request_id: Uuid,
) -> Result<(), StorageError> {
    insert(tx, kind, org_id, payload, request_id, None).await
}

/// Enqueues a job that runs at a later time of the application's clock, by which the time was decided.
pub async fn enqueue_at(
    tx: &Tx,
    kind: &str,
    org_id: Option<OrgId>,
    payload: Vec<u8>,
    request_id: Uuid,
    due_time: DateTime<Utc>,
) -> Result<(), StorageError> {
    insert(tx, kind, org_id, payload, request_id, Some(due_time)).await
}

async fn insert(
    tx: &Tx,
    kind: &str,
    org_id: Option<OrgId>,
    payload: Vec<u8>,
    request_id: Uuid,
    due_time: Option<DateTime<Utc>>,
) -> Result<(), StorageError> {
    // A wait of no length is over at any time, also after the clock was set back.
    let (due, wait) = match due_time {
        None => (tx.db().clock_millis(), Some(0_i64)),
        // Rounded up, so that the job does not run before its time.
        Some(time) => {
            let is_within = time.timestamp_subsec_nanos() % 1_000_000 > 0;
            let millis = time.timestamp_millis() + i64::from(is_within);
            (millis.to_string(), None)
        }
    };
    let sql = format!(
        "INSERT INTO job (job_id, org_id, kind, payload, request_id, create_time, due_millis, wait_millis, \
         attempts) VALUES ($1, $2, $3, $4, $5, $6, {due}, $7, 0) ON CONFLICT (kind, request_id) DO NOTHING"
    );
    let values = [
        tx.env().id::<JobId>().uuid().into(),
        org_id.map(TypedId::uuid).into(),
        kind.into(),
        payload.into(),
        request_id.into(),
        tx.now().into(),
        wait.into(),
    ];
    tx.execute_sql(&sql, values).await?;
    tx.step::<Wake>();
    Ok(())
}

/// Like [`enqueue`], but a job of the same kind and `request_id` that waits for a later attempt, or has
/// failed, is due at once, with as many attempts as a new one.
pub async fn enqueue_again(
    tx: &Tx,
    kind: &str,
    org_id: Option<OrgId>,
    payload: Vec<u8>,
    request_id: Uuid,
) -> Result<(), StorageError> {
    enqueue(tx, kind, org_id, payload, request_id).await?;
    operator::hasten(tx, kind, request_id).await
}
