//! The hash chain: the hash of each sealed row covers the row, its sequence number and the previous hash,
//! with the key of the service.
use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use parta_database::{Db, StorageError, Tx};
use parta_ids::OrgId;
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::record::chain_key;

/// Rows per transaction or query.
const BATCH: usize = 500;
const SEAL_INTERVAL: Duration = Duration::from_secs(5);
const COLUMNS: &str =
    "entry_id, occur_time, rpc, actor, on_behalf_of, object, request_id, seq, prev_hash, hash";

/// The reason why a chain could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The log was changed after it was written.
    #[error("the audit log is broken at {seq}: {why}")]
    Broken {
        /// The sequence number in the chain.
        seq: i64,
        /// The kind of the change.
        why: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A verified chain. If its hash is stored elsewhere, it proves later that no rows were removed from the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The number of sealed rows.
    pub seq: i64,
    /// The hash of the last row; empty in an empty chain.
    pub hash: Vec<u8>,
}

struct Entry {
    entry_id: Uuid,
    occur_time: DateTime<Utc>,
    rpc: String,
    actor: String,
    on_behalf_of: Option<String>,
    object: String,
    request_id: Option<Uuid>,
    seq: Option<i64>,
    prev_hash: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
}

impl TryFrom<QueryResult> for Entry {
    type Error = StorageError;
    fn try_from(row: QueryResult) -> Result<Self, StorageError> {
        Ok(Self {
            entry_id: row.try_get("", "entry_id")?,
            occur_time: row.try_get("", "occur_time")?,
            rpc: row.try_get("", "rpc")?,
            actor: row.try_get("", "actor")?,
            on_behalf_of: row.try_get("", "on_behalf_of")?,
            object: row.try_get("", "object")?,
            request_id: row.try_get("", "request_id")?,
            seq: row.try_get("", "seq")?,
            prev_hash: row.try_get("", "prev_hash")?,
            hash: row.try_get("", "hash")?,
        })
    }
}

impl Entry {
    fn hash(&self, db: &Db, chain: Uuid, seq: i64, previous: &[u8]) -> Result<Vec<u8>, StorageError> {
        let key = db.secrets().derive(&format!("{}.audit", db.service()));
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key);
        let mut mac = mac.map_err(|e| StorageError::Fault(e.to_string()))?;
        let parts: [Option<&[u8]>; 10] = [
            Some(previous),
            Some(chain.as_bytes()),
            Some(&seq.to_be_bytes()),
            Some(self.entry_id.as_bytes()),
            Some(&self.occur_time.timestamp_micros().to_be_bytes()),
            Some(self.rpc.as_bytes()),
            Some(self.actor.as_bytes()),
            self.on_behalf_of.as_deref().map(str::as_bytes),
            Some(self.object.as_bytes()),
            self.request_id.as_ref().map(|id| id.as_bytes().as_slice()),
        ];
        for part in parts {
            // The length separates adjacent parts and distinguishes an absent part from an empty one.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            mac.update(&length.to_be_bytes());
            mac.update(part.unwrap_or_default());
        }
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

/// Seals the rows committed since the last run and returns their number.
pub async fn seal(db: &Db) -> Result<u64, StorageError> {
    let mut sealed = 0;
    loop {
        let sql = "SELECT DISTINCT org_id FROM audit_entry WHERE seq IS NULL";
        let rows = db
            .conn()
            .query_all_raw(Statement::from_string(db.backend(), sql))
            .await?;
        if rows.is_empty() {
            return Ok(sealed);
        }
        for row in rows {
            let chain: Uuid = row.try_get("", "org_id")?;
            sealed += db.write(|tx| async move { seal_batch(&tx, chain).await }).await?;
        }
    }
}

async fn seal_batch(tx: &Tx, chain: Uuid) -> Result<u64, StorageError> {
    let backend = tx.get_database_backend();
    let sql = "INSERT INTO audit_head (org_id, seq, hash) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING";
    let values = [chain.into(), Vec::<u8>::new().into()];
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, values))
        .await?;
    let lock = if tx.db().is_postgres() { "FOR UPDATE" } else { "" };
    let sql = format!("SELECT seq, hash FROM audit_head WHERE org_id = $1 {lock}");
    let head = tx
        .query_one_raw(Statement::from_sql_and_values(backend, sql, [chain.into()]))
        .await?;
    let head = head.ok_or_else(|| StorageError::Fault("audit chain head not found".into()))?;
    let (mut seq, mut hash): (i64, Vec<u8>) = (head.try_get("", "seq")?, head.try_get("", "hash")?);

    let sql = format!(
        "SELECT {COLUMNS} FROM audit_entry WHERE org_id = $1 AND seq IS NULL ORDER BY entry_id LIMIT {BATCH}"
    );
    let rows = tx
        .query_all_raw(Statement::from_sql_and_values(backend, sql, [chain.into()]))
        .await?;
    let count = rows.len() as u64;
    for row in rows {
        let entry = Entry::try_from(row)?;
        seq += 1;
        let next = entry.hash(tx.db(), chain, seq, &hash)?;
        let sql =
            "UPDATE audit_entry SET seq = $3, prev_hash = $4, hash = $5 WHERE org_id = $1 AND entry_id = $2";
        let values = [
            chain.into(),
            entry.entry_id.into(),
            seq.into(),
            hash.into(),
            next.clone().into(),
        ];
        tx.execute_raw(Statement::from_sql_and_values(backend, sql, values))
            .await?;
        hash = next;
    }
    let sql = "UPDATE audit_head SET seq = $2, hash = $3 WHERE org_id = $1";
    let values = [chain.into(), seq.into(), hash.into()];
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, values))
        .await?;
    Ok(count)
}

/// Seals every few seconds until cancelled, and once more at the end.
pub async fn sealing_task(db: Db, cancel: CancellationToken) {
    loop {
        let is_stopping = cancel.is_cancelled();
        if let Err(error) = seal(&db).await {
            tracing::warn!(%error, "audit log sealing failed");
        }
        if is_stopping {
            return;
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(SEAL_INTERVAL) => {}
        }
    }
}

/// Recomputes and verifies the chain of an organization, or that of the platform.
pub async fn verify(db: &Db, org_id: Option<OrgId>) -> Result<Chain, AuditError> {
    let chain = chain_key(org_id);
    db.read(|tx| async move { verify_chain(&tx, chain).await }).await
}

async fn verify_chain(tx: &Tx, chain: Uuid) -> Result<Chain, AuditError> {
    let backend = tx.get_database_backend();
    let (mut seq, mut hash) = (0_i64, Vec::new());
    loop {
        let sql = format!(
            "SELECT {COLUMNS} FROM audit_entry WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT {BATCH}"
        );
        let statement = Statement::from_sql_and_values(backend, sql, [chain.into(), seq.into()]);
        let rows = tx.query_all_raw(statement).await.map_err(StorageError::from)?;
        let is_last_batch = rows.len() < BATCH;
        for row in rows {
            let entry = Entry::try_from(row)?;
            let broken = |why| AuditError::Broken { seq: seq + 1, why };
            if entry.seq != Some(seq + 1) {
                return Err(broken("a row is missing"));
            }
            if entry.prev_hash.as_deref() != Some(hash.as_slice()) {
                return Err(broken("the row does not follow the previous one"));
            }
            let next = entry.hash(tx.db(), chain, seq + 1, &hash)?;
            if !entry
                .hash
                .as_ref()
                .is_some_and(|stored| bool::from(stored.as_slice().ct_eq(&next)))
            {
                return Err(broken("the row was edited"));
            }
            (seq, hash) = (seq + 1, next);
        }
        if is_last_batch {
            break;
        }
    }
    let sql = "SELECT seq, hash FROM audit_head WHERE org_id = $1";
    let head = tx
        .query_one_raw(Statement::from_sql_and_values(backend, sql, [chain.into()]))
        .await;
    let head: (i64, Vec<u8>) = match head.map_err(StorageError::from)? {
        Some(row) => (
            row.try_get("", "seq").map_err(StorageError::from)?,
            row.try_get("", "hash").map_err(StorageError::from)?,
        ),
        None => (0, Vec::new()),
    };
    if head != (seq, hash.clone()) {
        return Err(AuditError::Broken {
            seq: seq + 1,
            why: "rows were removed from the end or added to it",
        });
    }
    Ok(Chain { seq, hash })
}
