use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use parta_database::{Db, StorageError};
use parta_ids::{JobId, OrgId, TypedId};
use sea_orm::{ConnectionTrait, Statement};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Job, JobHints};

/// The failure of a job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A later attempt can succeed.
    #[error("{0}")]
    Retry(String),
    /// A retry cannot succeed. The row is kept with the reason, for the operator.
    #[error("{0}")]
    Fatal(String),
}

impl From<StorageError> for JobError {
    fn from(error: StorageError) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Runs the jobs of one kind. A handler must tolerate repeated runs with the same `request_id`.
#[async_trait]
pub trait JobHandler: Send + Sync {
    /// Runs the job.
    async fn run(&self, job: &Job) -> Result<(), JobError>;
}

/// The longest run of one attempt. The lease lasts longer, so that no other replica starts the job meanwhile.
const RUN: Duration = Duration::from_secs(60);
const LEASE: TimeDelta = TimeDelta::seconds(90);
/// The poll interval for jobs of other replicas. Local commits wake the runner immediately.
const LOOK: Duration = Duration::from_secs(5);
const SLOWEST: i64 = 3600;
const AT_ONCE: usize = 8;

/// Runs due jobs until canceled.
pub struct JobRunner {
    db: Db,
    handlers: BTreeMap<String, Arc<dyn JobHandler>>,
    attempts: i32,
}

impl JobRunner {
    /// Returns a runner without handlers.
    pub fn new(db: Db) -> Self {
        Self {
            db,
            handlers: BTreeMap::new(),
            attempts: 50,
        }
    }

    /// Registers `handler` for jobs of `kind`.
    #[must_use]
    pub fn handle(mut self, kind: impl Into<String>, handler: Arc<dyn JobHandler>) -> Self {
        self.handlers.insert(kind.into(), handler);
        self
    }

    /// Sets the number of attempts after which a job fails permanently.
    #[must_use]
    pub fn attempts(mut self, attempts: i32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Runs until canceled. A job that is running is completed first.
    pub async fn run(self, cancel: CancellationToken) {
        let mut hints = self.db.shared::<JobHints>().0.subscribe();
        while !cancel.is_cancelled() {
            hints.mark_unchanged();
            let failed = self
                .run_due(&cancel)
                .await
                .inspect_err(|error| tracing::warn!(%error, "job lookup failed"))
                .is_err();
            let wait = if failed { LOOK } else { self.until_next().await };
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = hints.changed(), if !failed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Runs the jobs that are due, and those that they enqueue, until none is due or `cancel` is canceled.
    pub async fn run_due(&self, cancel: &CancellationToken) -> Result<(), StorageError> {
        let drained = futures::future::join_all((0..AT_ONCE).map(|_| self.drain(cancel))).await;
        drained.into_iter().collect()
    }

    async fn drain(&self, cancel: &CancellationToken) -> Result<(), StorageError> {
        while !cancel.is_cancelled() {
            let Some((job, lease)) = self.claim().await? else {
                return Ok(());
            };
            self.perform(&job, lease).await?;
        }
        Ok(())
    }

    async fn until_next(&self) -> Duration {
        let sql = "SELECT MIN(due_time) AS due_time FROM job WHERE due_time IS NOT NULL";
        let row = self
            .db
            .conn()
            .query_one_raw(Statement::from_string(self.db.backend(), sql))
            .await;
        let next = row
            .ok()
            .flatten()
            .and_then(|row| row.try_get::<Option<DateTime<Utc>>>("", "due_time").ok())
            .flatten();
        let wait = next
            .and_then(|due| (due - self.db.env().now()).to_std().ok())
            .unwrap_or(LOOK);
        wait.clamp(Duration::from_millis(20), LOOK)
    }

    /// Leases the job that has been due the longest. On PostgreSQL, rows locked by other replicas are
    /// skipped.
    async fn claim(&self) -> Result<Option<(Job, Uuid)>, StorageError> {
        if self.handlers.is_empty() {
            return Ok(None);
        }
        let lease = self.db.env().ids.uuid();
        let now = self.db.env().now();
        let kinds: Vec<String> = (0..self.handlers.len()).map(|i| format!("${}", i + 4)).collect();
        let skip = if self.db.is_postgres() {
            "FOR UPDATE SKIP LOCKED"
        } else {
            ""
        };
        let sql = format!(
            "UPDATE job SET lease = $1, due_time = $2, attempts = attempts + 1 WHERE job_id = (\
             SELECT job_id FROM job WHERE due_time <= $3 AND kind IN ({}) ORDER BY due_time LIMIT 1 {skip}) \
             RETURNING job_id, org_id, kind, payload, request_id, attempts, create_time",
            kinds.join(", ")
        );
        let values: Vec<sea_orm::Value> = [lease.into(), (now + LEASE).into(), now.into()]
            .into_iter()
            .chain(self.handlers.keys().map(|kind| kind.as_str().into()))
            .collect();
        // Checked without the write lock first, so that an idle runner does not delay writers.
        if !self.any_due(now).await? {
            return Ok(None);
        }
        let (sql, values) = (&sql, &values);
        let row = self
            .db
            .write(|tx| async move {
                let statement =
                    Statement::from_sql_and_values(tx.get_database_backend(), sql, values.clone());
                Ok::<_, StorageError>(tx.query_one_raw(statement).await?)
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
        };
        Ok(Some((job, lease)))
    }

    async fn any_due(&self, now: DateTime<Utc>) -> Result<bool, StorageError> {
        let sql = "SELECT job_id FROM job WHERE due_time <= $1 LIMIT 1";
        let statement = Statement::from_sql_and_values(self.db.backend(), sql, [now.into()]);
        Ok(self.db.conn().query_one_raw(statement).await?.is_some())
    }

    async fn perform(&self, job: &Job, lease: Uuid) -> Result<(), StorageError> {
        let Some(handler) = self.handlers.get(&job.kind) else {
            return Ok(());
        };
        let result = match tokio::time::timeout(RUN, handler.run(job)).await {
            Ok(result) => result,
            Err(_) => Err(JobError::Retry(format!("took longer than {} s", RUN.as_secs()))),
        };
        let (sql, values): (&str, Vec<sea_orm::Value>) = match result {
            Ok(()) => ("DELETE FROM job WHERE job_id = $1 AND lease = $2", vec![]),
            Err(JobError::Retry(why)) if job.attempts < self.attempts => {
                tracing::info!(job.kind, job.id = %job.job_id, job.attempts, why, "job attempt failed, will be retried");
                let wait = 1_i64
                    .checked_shl(job.attempts.unsigned_abs().min(20))
                    .unwrap_or(SLOWEST)
                    .min(SLOWEST);
                let due = self.db.env().now() + TimeDelta::seconds(wait);
                (
                    "UPDATE job SET lease = NULL, due_time = $3, failure = $4 WHERE job_id = $1 AND lease = $2",
                    vec![due.into(), why.into()],
                )
            }
            Err(error) => {
                tracing::error!(job.kind, job.id = %job.job_id, job.attempts, %error, "job failed permanently");
                (
                    "UPDATE job SET lease = NULL, due_time = NULL, failure = $3 WHERE job_id = $1 AND lease = $2",
                    vec![error.to_string().into()],
                )
            }
        };
        let values: Vec<sea_orm::Value> = [job.job_id.uuid().into(), lease.into()]
            .into_iter()
            .chain(values)
            .collect();
        let values = &values;
        self.db
            .write(|tx| async move {
                let statement =
                    Statement::from_sql_and_values(tx.get_database_backend(), sql, values.clone());
                tx.execute_raw(statement).await?;
                Ok::<_, StorageError>(())
            })
            .await
    }
}
