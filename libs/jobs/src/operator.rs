//! The rows of jobs as the operator sees and changes them.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use parta_database::{Db, StorageError, Tx, table};
use parta_ids::{JobId, OrgId, TypedId as _, Uuid};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, UpdateMany,
    sea_query::{Expr, ExprTrait as _, IntoCondition as _},
};

use crate::wake::Wake;
use job::{Column, Entity, Model};

table!(job, "job", {
    #[sea_orm(primary_key, auto_increment = false)]
    job_id: Uuid,
    org_id: Option<Uuid>,
    kind: String,
    request_id: Uuid,
    create_time: DateTimeUtc,
    due_millis: Option<i64>,
    wait_millis: Option<i64>,
    attempts: i32,
    lease: Option<Uuid>,
    failure: Option<String>,
    progress_done: Option<i64>,
    progress_total: Option<i64>,
    fail_time: Option<DateTimeUtc>,
});

/// The time for which a failed job is kept for the operator.
pub const FAILED_RETENTION: Duration = Duration::from_hours(90 * 24);

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// An attempt is due now or later.
    Waiting,
    /// An attempt runs.
    Running,
    /// The job is never due again.
    Failed,
}

/// A job as the operator sees it. It has no payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// The id of the job.
    pub job_id: JobId,
    /// The organization for which the job runs.
    pub org_id: Option<OrgId>,
    /// The kind of the job.
    pub kind: String,
    /// The state.
    pub state: JobState,
    /// The number of attempts.
    pub attempts: i32,
    /// The code and the reason of the last failure.
    pub failure: Option<String>,
    /// The time when the job was enqueued.
    pub create_time: DateTime<Utc>,
    /// The time of the next attempt; while one runs, the time when it was due. `None` if the job
    /// failed.
    pub due_time: Option<DateTime<Utc>>,
    /// The time when the job failed permanently.
    pub fail_time: Option<DateTime<Utc>>,
    /// The number of steps that are done, and that of all steps; `None` if the job reports no progress.
    pub progress: Option<(i64, i64)>,
}

/// The jobs that are listed.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs of this kind.
    pub kind: Option<String>,
    /// Only jobs of this organization.
    pub org_id: Option<OrgId>,
}

impl From<Model> for JobRecord {
    fn from(row: Model) -> Self {
        let state = match (row.due_millis, row.lease) {
            (None, _) => JobState::Failed,
            (Some(_), Some(_)) => JobState::Running,
            (Some(_), None) => JobState::Waiting,
        };
        Self {
            job_id: JobId::from_uuid(row.job_id),
            org_id: row.org_id.map(OrgId::from_uuid),
            kind: row.kind,
            state,
            attempts: row.attempts,
            failure: row.failure,
            create_time: row.create_time,
            due_time: row.due_millis.and_then(DateTime::from_timestamp_millis),
            fail_time: row.fail_time,
            progress: row.progress_done.zip(row.progress_total),
        }
    }
}

fn in_state(state: JobState) -> Condition {
    match state {
        JobState::Failed => Column::DueMillis.is_null().into_condition(),
        JobState::Running => Condition::all()
            .add(Column::DueMillis.is_not_null())
            .add(Column::Lease.is_not_null()),
        JobState::Waiting => Condition::all()
            .add(Column::DueMillis.is_not_null())
            .add(Column::Lease.is_null()),
    }
}

/// Lists jobs, oldest first.
pub async fn list(
    conn: &impl ConnectionTrait,
    filter: &JobFilter,
    after: Option<JobId>,
    limit: u64,
) -> Result<Vec<JobRecord>, StorageError> {
    let wanted = Condition::all()
        .add_option(filter.state.map(in_state))
        .add_option(filter.kind.as_deref().map(|kind| Column::Kind.eq(kind)))
        .add_option(filter.org_id.map(|org| Column::OrgId.eq(org.uuid())))
        .add_option(after.map(|id| Column::JobId.gt(id.uuid())));
    let rows = Entity::find()
        .filter(wanted)
        .order_by_asc(Column::JobId)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(JobRecord::from).collect())
}

/// Returns the number of failed jobs.
pub async fn count_failed(conn: &impl ConnectionTrait) -> Result<u64, StorageError> {
    Ok(Entity::find()
        .filter(in_state(JobState::Failed))
        .count(conn)
        .await?)
}

/// Finds a job; `None` if it does not exist, for example because it is done.
pub async fn find(conn: &impl ConnectionTrait, id: JobId) -> Result<Option<JobRecord>, StorageError> {
    let row = Entity::find_by_id(id.uuid()).one(conn).await?;
    Ok(row.map(JobRecord::from))
}

/// Locks a job until the end of the transaction; `None` if it does not exist.
pub async fn lock(tx: &Tx, id: JobId) -> Result<Option<JobRecord>, StorageError> {
    let row = Entity::find_by_id(id.uuid()).lock_exclusive().one(tx).await?;
    Ok(row.map(JobRecord::from))
}

/// Returns the organizations that have a job of the kind that runs or is due before `before`, a time
/// that is not in the past. A running job is found because it keeps the time when it was due.
pub async fn organizations_due(
    conn: &impl ConnectionTrait,
    kind: &str,
    before: DateTime<Utc>,
) -> Result<BTreeSet<OrgId>, StorageError> {
    let ids: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::OrgId)
        .distinct()
        .filter(Column::Kind.eq(kind))
        .filter(Column::DueMillis.lt(before.timestamp_millis()))
        .filter(Column::OrgId.is_not_null())
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(OrgId::from_uuid).collect())
}

/// Makes a job due at once that waits for a later attempt, or has failed.
pub(crate) async fn hasten(tx: &Tx, kind: &str, request_id: Uuid) -> Result<(), StorageError> {
    let is_later = Condition::any()
        .add(Column::DueMillis.is_null())
        .add(Expr::col(Column::DueMillis).gt(Expr::cust(tx.db().clock_millis())));
    due_at_once(tx)
        .filter(Column::Kind.eq(kind))
        .filter(Column::RequestId.eq(request_id))
        .filter(is_later)
        .exec(tx)
        .await?;
    Ok(())
}

/// An update that makes jobs due at once, without the attempts of before.
fn due_at_once(tx: &Tx) -> UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::DueMillis, Expr::cust(tx.db().clock_millis()))
        .col_expr(Column::WaitMillis, Expr::value(0_i64))
        .col_expr(Column::Attempts, Expr::value(0))
        .col_expr(Column::FailTime, Expr::value(Option::<DateTime<Utc>>::None))
}

/// Makes a failed job due at once and resets its attempts. The caller has locked the job and has
/// checked that it failed.
pub async fn retry(tx: &Tx, id: JobId) -> Result<(), StorageError> {
    due_at_once(tx)
        .filter(Column::JobId.eq(id.uuid()))
        .exec(tx)
        .await?;
    tx.step::<Wake>();
    Ok(())
}

/// Deletes a failed job. The caller has locked the job and has checked that it failed.
pub async fn delete(tx: &Tx, id: JobId) -> Result<(), StorageError> {
    Entity::delete_by_id(id.uuid()).exec(tx).await?;
    Ok(())
}

/// Deletes the jobs that failed longer ago than [`FAILED_RETENTION`].
pub async fn purge(db: &Db) -> Result<(), StorageError> {
    let before = db.env().now() - TimeDelta::from_std(FAILED_RETENTION).unwrap_or(TimeDelta::MAX);
    db.write(|tx| async move {
        Entity::delete_many()
            .filter(Column::DueMillis.is_null())
            .filter(Column::FailTime.lt(before))
            .exec(&tx)
            .await?;
        Ok(())
    })
    .await
}
