//! The rows of jobs: claim, renewal of the lease, and the end of an attempt.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use parta_database::{Db, StorageError};
use parta_ids::{JobId, OrgId, TypedId};
use sea_orm::{ConnectionTrait, Statement, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Job, Progress};

/// The clock of the database, in milliseconds since 1970. It decides when a lease ends, so that a replica
/// whose clock is wrong does not take a job that runs.
fn database_clock(db: &Db) -> &'static str {
    if db.is_postgres() {
        "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT"
    } else {
        "round(unixepoch('subsec') * 1000)"
    }
}

/// The right of one attempt to run a job, until the lease ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    id: Uuid,
    duration: Duration,
}

/// The number of times that a running attempt renews its lease and stores its progress during one
/// lease, so that a few failures do not end it.
const RENEWALS_PER_LEASE: u32 = 6;

/// How an attempt ended.
pub(crate) enum End {
    /// The job is done. Its row is deleted.
    Done,
    /// The attempt does not count, and the job is due at once.
    Interrupted,
    /// The job is due later, after this failure.
    Retry {
        due: DateTime<Utc>,
        why: String,
        /// Whether the attempt counts.
        counts: bool,
    },
    /// The job is never due again. Its row is kept for the operator.
    Failed(String),
}

/// The condition for jobs of a kind that no attempt runs, without those of the excluded organizations, and
/// its values from `$first` on.
fn available(db: &Db, kind: &str, excluded: &[OrgId], first: usize) -> (String, Vec<Value>) {
    let clock = database_clock(db);
    let mut condition =
        format!("kind = ${first} AND (lease_end_millis IS NULL OR lease_end_millis <= {clock})");
    let mut values = vec![kind.into()];
    if !excluded.is_empty() {
        let places: Vec<_> = (1..=excluded.len()).map(|n| format!("${}", first + n)).collect();
        condition += &format!(" AND (org_id IS NULL OR org_id NOT IN ({}))", places.join(", "));
        values.extend(excluded.iter().map(|org| org.uuid().into()));
    }
    (condition, values)
}

/// The columns of a leased job.
const COLUMNS: &str = "job_id, org_id, kind, payload, request_id, attempts, create_time";

/// Leases the job of a kind that has been due the longest. On PostgreSQL, rows locked by other replicas are
/// skipped.
pub(crate) async fn claim(
    db: &Db,
    kind: &str,
    excluded: &[OrgId],
    duration: Duration,
    stopping: &CancellationToken,
) -> Result<Option<(Job, Lease)>, StorageError> {
    let now = db.env().now();
    // Checked without the write lock first, so that an idle runner does not delay writers.
    if next_due_time(db, kind, excluded)
        .await?
        .is_none_or(|due| due > now)
    {
        return Ok(None);
    }
    let lease = Lease {
        id: db.env().ids.uuid(),
        duration,
    };
    let skip = if db.is_postgres() {
        "FOR UPDATE SKIP LOCKED"
    } else {
        ""
    };
    let (condition, conditions) = available(db, kind, excluded, 3);
    let end = lease.end_millis(db);
    let sql = &format!(
        "UPDATE job SET lease = $1, lease_end_millis = {end}, attempts = attempts + 1 \
         WHERE job_id = (SELECT job_id FROM job WHERE due_time <= $2 AND {condition} \
         ORDER BY due_time LIMIT 1 {skip}) RETURNING {COLUMNS}"
    );
    let values = &[vec![lease.id.into(), now.into()], conditions].concat();
    let has_run = AtomicBool::new(false);
    let row = db
        .write_idempotent(|tx| {
            let repeats = has_run.swap(true, Ordering::Relaxed);
            async move {
                let backend = tx.get_database_backend();
                if repeats {
                    // The commit of the run before may have leased a job, which nobody would run until the
                    // lease ends.
                    let leased = format!("SELECT {COLUMNS} FROM job WHERE lease = $1");
                    let leased = Statement::from_sql_and_values(backend, leased, [lease.id.into()]);
                    if let Some(row) = tx.query_one_raw(leased).await? {
                        return Ok(Some(row));
                    }
                }
                let statement = Statement::from_sql_and_values(backend, sql, values.clone());
                Ok::<_, StorageError>(tx.query_one_raw(statement).await?)
            }
        })
        .await?;
    let Some(row) = row else { return Ok(None) };
    let job = Job {
        job_id: JobId::from_uuid(row.try_get("", "job_id")?),
        org_id: row.try_get::<Option<Uuid>>("", "org_id")?.map(OrgId::from_uuid),
        kind: row.try_get("", "kind")?,
        payload: row.try_get("", "payload")?,
        request_id: row.try_get("", "request_id")?,
        attempts: row.try_get("", "attempts")?,
        create_time: row.try_get("", "create_time")?,
        progress: Progress::default(),
        stopping: stopping.clone(),
    };
    Ok(Some((job, lease)))
}

/// The time when the next available job of a kind is due.
pub(crate) async fn next_due_time(
    db: &Db,
    kind: &str,
    excluded: &[OrgId],
) -> Result<Option<DateTime<Utc>>, StorageError> {
    let (condition, values) = available(db, kind, excluded, 1);
    let sql = format!(
        "SELECT due_time FROM job WHERE due_time IS NOT NULL AND {condition} ORDER BY due_time LIMIT 1"
    );
    let statement = Statement::from_sql_and_values(db.backend(), sql, values);
    match db.conn().query_one_raw(statement).await? {
        Some(row) => Ok(Some(row.try_get("", "due_time")?)),
        None => Ok(None),
    }
}

impl Lease {
    /// The SQL expression for the end of a lease that begins now.
    fn end_millis(self, db: &Db) -> String {
        format!("{} + {}", database_clock(db), self.duration.as_millis())
    }

    /// Renews the lease and stores the progress of the attempt, until another replica has the job. An attempt
    /// that cannot renew its lease has lost it when its time is over.
    pub(crate) async fn lost(self, db: &Db, job: &Job) {
        let interval = self.duration / RENEWALS_PER_LEASE;
        let mut end = Instant::now() + self.duration;
        loop {
            tokio::time::sleep(interval).await;
            match self.renew(db, job).await {
                Ok(true) => end = Instant::now() + self.duration,
                Ok(false) => return,
                Err(error) => {
                    tracing::info!(job.kind, job.id = %job.job_id, %error, "lease of a job not renewed");
                    if Instant::now() + interval >= end {
                        return;
                    }
                }
            }
        }
    }

    async fn renew(self, db: &Db, job: &Job) -> Result<bool, StorageError> {
        let end = self.end_millis(db);
        let sql = format!(
            "UPDATE job SET lease_end_millis = {end}, progress_done = $3, \
             progress_total = $4 WHERE job_id = $1 AND lease = $2"
        );
        let (done, total) = job.progress.get().unzip();
        self.update(db, job, &sql, vec![done.into(), total.into()]).await
    }

    /// Stores how the attempt ended. Changes nothing if another replica has the job.
    pub(crate) async fn end(self, db: &Db, job: &Job, end: End) -> Result<(), StorageError> {
        let released = "UPDATE job SET lease = NULL, lease_end_millis = NULL, ";
        let (change, values) = match end {
            End::Done => ("DELETE FROM job".to_owned(), vec![]),
            End::Interrupted => (format!("{released} attempts = attempts - 1"), vec![]),
            End::Retry { due, why, counts } => (
                format!("{released} due_time = $3, failure = $4, attempts = attempts - $5"),
                vec![due.into(), why.into(), i32::from(!counts).into()],
            ),
            End::Failed(why) => (
                format!("{released} due_time = NULL, failure = $3, fail_time = $4"),
                vec![why.into(), db.env().now().into()],
            ),
        };
        let sql = format!("{change} WHERE job_id = $1 AND lease = $2");
        self.update(db, job, &sql, values).await.map(|_| ())
    }

    /// Changes the row of the job. Returns `false` if another replica has the job.
    async fn update(self, db: &Db, job: &Job, sql: &str, values: Vec<Value>) -> Result<bool, StorageError> {
        let values = &[vec![job.job_id.uuid().into(), self.id.into()], values].concat();
        // A second run changes nothing if the first one has ended the lease.
        db.write_idempotent(|tx| async move {
            let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values.clone());
            Ok::<_, StorageError>(tx.execute_raw(statement).await?.rows_affected() > 0)
        })
        .await
    }
}

/// The wait after the given number of attempts: one second doubled by each, up to `longest`.
pub(crate) fn retry_delay(attempts: i32, longest: Duration) -> Duration {
    Duration::from_secs(1 << attempts.clamp(0, 20)).min(longest)
}
