//! Durable jobs: effects outside the database (mail, calls to other services) that a committed transaction owes.
//!
//! A job is a row written in the transaction of its cause. It is run at least once, under a lease, by one replica at
//! a time, with a `request_id` derived from its cause, so that its effect happens once where the callee keeps that.

mod runner;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parta_ids::{JobId, OrgId, TypedId};
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

pub use runner::{JobError, JobHandler, JobRunner};

use crate::{CommitStep, Db, StorageError, Tx};

/// A job that is being run.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub job_id: JobId,
    /// The organization on whose behalf it is done.
    pub org_id: Option<OrgId>,
    /// Which handler runs it.
    pub kind: String,
    /// What the handler needs to know.
    pub payload: Vec<u8>,
    /// To be sent as `request_id` with every call that the job makes.
    pub request_id: Uuid,
    /// How often it was begun, this time included.
    pub attempts: i32,
    /// When it was owed.
    pub create_time: DateTime<Utc>,
}

/// Owes a job, to be run right after the commit. Owing the same kind with the same `request_id` again changes nothing.
pub async fn enqueue(
    tx: &Tx,
    kind: &str,
    org_id: Option<OrgId>,
    payload: Vec<u8>,
    request_id: Uuid,
) -> Result<(), StorageError> {
    enqueue_at(tx, kind, org_id, payload, request_id, tx.now()).await
}

/// Owes a job for a later time.
pub async fn enqueue_at(
    tx: &Tx,
    kind: &str,
    org_id: Option<OrgId>,
    payload: Vec<u8>,
    request_id: Uuid,
    due_time: DateTime<Utc>,
) -> Result<(), StorageError> {
    let sql = "INSERT INTO job (job_id, org_id, kind, payload, request_id, create_time, due_time, attempts) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT (kind, request_id) DO NOTHING";
    let values = [
        tx.env().id::<JobId>().uuid().into(),
        org_id.map(TypedId::uuid).into(),
        kind.into(),
        payload.into(),
        request_id.into(),
        tx.now().into(),
        due_time.into(),
    ];
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        values,
    ))
    .await?;
    tx.step::<Wake>();
    Ok(())
}

#[derive(Default)]
struct Wake;

#[async_trait]
impl CommitStep for Wake {
    async fn before_commit(&self, _tx: &Tx) -> Result<(), StorageError> {
        Ok(())
    }
    fn after_commit(&self, db: &Db) {
        db.hint_jobs();
    }
}
