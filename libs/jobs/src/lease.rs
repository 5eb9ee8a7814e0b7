//! The rows of jobs: claim, renewal of the lease, and the end of an attempt.
//!
//! Leases and waits end by the clock of the database, so that a replica whose clock is wrong neither takes a
//! job that runs nor delays one.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parta_database::{Db, StorageError};
use parta_ids::{JobId, OrgId, TypedId};
use sea_orm::{ConnectionTrait, Statement, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Job, Progress};

/// The right of one attempt to run a job, until the lease ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    id: Uuid,
    duration: Duration,
}

/// The number of times that a running attempt renews its lease and stores its progress during one
/// lease, so that a few failures do not end it.
const RENEWALS_PER_LEASE: u32 = 6;

/// The end of an attempt.
pub(crate) enum End {
    /// The job is done. Its row is deleted.
    Done,
    /// The attempt does not count, and the job is due at once.
    Interrupted,
    /// The job is due after a wait, because of this failure.
    Retry {
        wait: Duration,
        why: String,
        /// Whether the attempt counts.
        counts: bool,
    },
    /// The job is never due again. Its row is kept for the operator.
    Failed(String),
}

/// The condition for jobs that are due: those that wait by the clock of the database, and those that are
/// scheduled by that of the application, from which the time came. A wait that ends later than it takes began
/// before the clock was set back, and is over.
struct Due {
    waiting: String,
    scheduled: String,
}

impl Due {
    fn of(db: &Db) -> Self {
        let (clock, now) = (db.clock_millis(), db.env().now().timestamp_millis());
        let is_over = format!("due_millis <= {clock} OR due_millis > {clock} + wait_millis");
        Self {
            waiting: format!("wait_millis IS NOT NULL AND ({is_over})"),
            scheduled: format!("wait_millis IS NULL AND due_millis <= {now}"),
        }
    }
}

/// The condition for jobs of a kind that no attempt runs, without those of the excluded organizations, and
/// its values from `$first` on.
fn available(db: &Db, kind: &str, excluded: &[OrgId], first: usize) -> (String, Vec<Value>) {
    let clock = db.clock_millis();
    let mut condition =
        format!("kind = ${first} AND (lease_end_millis IS NULL OR lease_end_millis <= {clock})");
    let mut values = vec![kind.into()];
    if !excluded.is_empty() {
        let placeholders: Vec<_> = (1..=excluded.len()).map(|n| format!("${}", first + n)).collect();
        condition += &format!(
            " AND (org_id IS NULL OR org_id NOT IN ({}))",
            placeholders.join(", ")
        );
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
    // Checked without the write lock first, so that an idle runner does not delay writers.
    let wait = until_due(db, &[(kind, excluded.to_vec())]).await?;
    if wait.get(kind).is_none_or(|wait| !wait.is_zero()) {
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
    let (condition, conditions) = available(db, kind, excluded, 2);
    let (end, Due { waiting, scheduled }) = (lease.end_millis(db), Due::of(db));
    let sql = &format!(
        "UPDATE job SET lease = $1, lease_end_millis = {end}, attempts = attempts + 1 \
         WHERE job_id = (SELECT job_id FROM job WHERE {condition} AND (({waiting}) OR ({scheduled})) \
         ORDER BY due_millis LIMIT 1 {skip}) RETURNING {COLUMNS}"
    );
    let values = &[vec![lease.id.into()], conditions].concat();
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

/// The time until the next available job of each kind is due; zero if one is due. Kinds without such a job
/// are absent. The organizations of a kind are excluded from it. One statement, because each idle runner
/// repeats it.
pub(crate) async fn until_due(
    db: &Db,
    kinds: &[(&str, Vec<OrgId>)],
) -> Result<BTreeMap<String, Duration>, StorageError> {
    let (clock, now) = (db.clock_millis(), db.env().now().timestamp_millis());
    let Due { waiting, .. } = Due::of(db);
    let (mut queries, mut values) = (Vec::new(), Vec::new());
    for (kind, excluded) in kinds {
        let (condition, of_kind) = available(db, kind, excluded, values.len() + 1);
        values.extend(of_kind);
        // The next job of each sort by an index, and one whose wait is over for either reason.
        let next = |sort: &str, clock: &str| {
            format!(
                "SELECT kind, millis FROM (SELECT kind, due_millis - {clock} AS millis FROM job WHERE {condition} \
                 AND wait_millis {sort} AND due_millis IS NOT NULL ORDER BY due_millis LIMIT 1) AS next_job"
            )
        };
        queries.push(next("IS NOT NULL", &clock));
        queries.push(next("IS NULL", &now.to_string()));
        queries.push(format!(
            "SELECT kind, millis FROM (SELECT kind, due_millis - due_millis AS millis FROM job WHERE {condition} \
             AND {waiting} LIMIT 1) AS due_job"
        ));
    }
    if queries.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT kind, MIN(millis) AS millis FROM ({}) AS jobs GROUP BY kind",
        queries.join(" UNION ALL ")
    );
    let statement = Statement::from_sql_and_values(db.backend(), sql, values);
    let mut waits = BTreeMap::new();
    for row in db.conn().query_all_raw(statement).await? {
        let millis: i64 = row.try_get("", "millis")?;
        let wait = Duration::from_millis(millis.max(0).unsigned_abs());
        waits.insert(row.try_get("", "kind")?, wait);
    }
    Ok(waits)
}

impl Lease {
    /// The SQL expression for the end of a lease that begins now.
    fn end_millis(self, db: &Db) -> String {
        format!("{} + {}", db.clock_millis(), self.duration.as_millis())
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
            End::Retry { wait, why, counts } => (
                format!(
                    "{released} due_millis = {} + $3, wait_millis = $3, failure = $4, attempts = attempts - $5",
                    db.clock_millis()
                ),
                vec![millis(wait).into(), why.into(), i32::from(!counts).into()],
            ),
            End::Failed(why) => (
                format!("{released} due_millis = NULL, wait_millis = NULL, failure = $3, fail_time = $4"),
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

fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}
