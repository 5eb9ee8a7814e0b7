//! Idempotency records, by which a repeated mutation finds its outcome.
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use parta_database::{Db, StorageError, Tx};
use parta_ids::{OrgId, TypedId};
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use sea_orm::{ConnectionTrait, Statement};
use sha2::Sha256;
use std::future::Future;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::Mutation;

/// The retention of a `request_id`, in days.
pub const RETENTION_DAYS: i64 = 30;

/// Whether a mutation was carried out before.
#[derive(Debug)]
pub enum Claim {
    /// It was not: the caller carries it out now and ends with [`ClaimedRecord::keep`].
    New(ClaimedRecord),
    /// It was, and left this record.
    Before(Record),
}

/// The record that a transaction has claimed for its mutation and that has no outcome yet.
#[derive(Debug)]
#[must_use = "a mutation ends with its outcome"]
pub struct ClaimedRecord {
    mutation: Mutation,
}

impl ClaimedRecord {
    /// Stores the outcome of the mutation for repetitions within 30 days: ids and numbers, never names.
    /// Events must have been appended before: a repetition returns the consistency token of their
    /// organization.
    pub async fn keep(self, tx: &Tx, outcome: Vec<u8>) -> Result<(), StorageError> {
        let Self { mutation } = self;
        let sql = "UPDATE idempotency_record SET response = $4, log_org_id = $5 WHERE principal = $1 AND rpc = $2 AND request_id = $3";
        let values = [
            mutation.principal().into(),
            mutation.rpc().into(),
            mutation.request_id().into(),
            outcome.into(),
            tx.log_org().map(TypedId::uuid).into(),
        ];
        tx.execute_sql(sql, values).await?;
        Ok(())
    }
}

/// The record of an earlier run of a mutation.
#[derive(Debug)]
pub struct Record {
    same_request: bool,
    request_id: Uuid,
    outcome: Vec<u8>,
}

impl Record {
    /// Returns whether the earlier request had the same bytes.
    pub fn is_same_request(&self) -> bool {
        self.same_request
    }

    /// Returns the stored outcome. Refuses with REQUEST_ID_REUSED if the earlier request was different. Call
    /// it only after the caller was authorized, so that an unauthorized caller cannot learn that the id was
    /// used.
    pub fn outcome(&self) -> Result<&[u8], RpcError> {
        if self.same_request {
            return Ok(&self.outcome);
        }
        Err(RpcError::new(
            ErrorReason::RequestIdReused,
            "The request_id was already used for another request. Use a new one.",
        )
        .meta("request_id", self.request_id))
    }
}

fn digest(tx: &Tx, mutation: &Mutation) -> Result<Vec<u8>, StorageError> {
    let key = tx
        .db()
        .secrets()
        .derive(&format!("{}.idempotency", tx.db().service()));
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(&key).map_err(|e| StorageError::Fault(e.to_string()))?;
    mac.update(mutation.request());
    Ok(mac.finalize().into_bytes().to_vec())
}

/// Runs `work` in the transaction that has claimed the `request_id` of the mutation. `work` receives whether
/// the mutation was carried out before; if it was not, `work` must end with [`ClaimedRecord::keep`]. A
/// concurrent duplicate waits until this transaction has ended. The closure may run several times. A failure
/// leaves no claim.
pub async fn mutate<T, E, F, Fut>(db: &Db, mutation: &Mutation, work: F) -> Result<T, E>
where
    T: Send,
    F: Fn(Tx, Claim) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send,
    E: From<StorageError> + Send,
{
    let work = &work;
    db.write_idempotent(|tx| async move {
        tx.set_request_id(mutation.request_id());
        tx.act_for(mutation.org_id());
        let claim = claim(&tx, mutation).await?;
        work(tx, claim).await
    })
    .await
}

/// Claims the key of a mutation in a transaction. A concurrent duplicate waits here until the first
/// transaction ends. [`mutate`] does it before anything else. An act that cancels another mutation claims the
/// key of that one, so that it is not carried out later, or finds what it left.
pub async fn claim(tx: &Tx, mutation: &Mutation) -> Result<Claim, StorageError> {
    let backend = tx.get_database_backend();
    let digest = digest(tx, mutation)?;
    let key = || {
        [
            mutation.principal().into(),
            mutation.rpc().into(),
            mutation.request_id().into(),
        ]
    };
    let sql = "INSERT INTO idempotency_record (principal, rpc, request_id, digest, create_time) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let values = key().into_iter().chain([digest.clone().into(), tx.now().into()]);
    let done = tx
        .execute_raw(Statement::from_sql_and_values(backend, sql, values))
        .await?;
    if done.rows_affected() == 1 {
        return Ok(Claim::New(ClaimedRecord {
            mutation: mutation.clone(),
        }));
    }
    let sql = "SELECT digest, response, log_org_id FROM idempotency_record \
               WHERE principal = $1 AND rpc = $2 AND request_id = $3";
    let row = tx
        .query_one_raw(Statement::from_sql_and_values(backend, sql, key()))
        .await?;
    // Purged between the two statements, because the retention of 30 days has passed.
    let row = row.ok_or_else(|| StorageError::Conflict("the idempotency record was just purged".into()))?;
    let first: Vec<u8> = row.try_get("", "digest")?;
    let outcome: Option<Vec<u8>> = row.try_get("", "response")?;
    let org_id: Option<Uuid> = row.try_get("", "log_org_id")?;
    tx.act_for(org_id.map(OrgId::from_uuid));
    Ok(Claim::Before(Record {
        same_request: first.ct_eq(&digest).into(),
        request_id: mutation.request_id(),
        outcome: outcome
            .ok_or_else(|| StorageError::Fault("the idempotency record has no outcome".into()))?,
    }))
}

/// The number of records that one transaction deletes, and more if they are of the same time, so that no
/// writer waits for long.
const PURGE: u64 = 5_000;

/// Deletes records older than the retention.
pub async fn purge(db: &Db) -> Result<(), StorageError> {
    let before = db.env().now() - TimeDelta::days(RETENTION_DAYS);
    // The index of the times finds the last record of the part and the records up to it.
    let sql = &format!(
        "DELETE FROM idempotency_record WHERE create_time < $1 AND create_time <= COALESCE(\
         (SELECT create_time FROM idempotency_record WHERE create_time < $1 ORDER BY create_time \
         LIMIT 1 OFFSET {}), $1)",
        PURGE - 1
    );
    let mut total = 0;
    loop {
        let count = db
            .write(|tx| async move { Ok::<_, StorageError>(tx.execute_sql(sql, [before.into()]).await?) })
            .await?;
        total += count;
        if count < PURGE {
            break;
        }
    }
    if total > 0 {
        tracing::info!(count = total, "idempotency records purged");
    }
    Ok(())
}
