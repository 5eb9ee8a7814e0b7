//! The hash chain: the hash of each sealed row covers the row, its sequence number and the previous hash,
//! with the key of the service.
use hmac::{Hmac, KeyInit, Mac};
use parta_database::{Db, StorageError, Tx, insert_if_absent};
use parta_ids::OrgId;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::{
    entities::{entry, head},
    record::chain_key,
};

/// Rows per transaction or query.
const BATCH: u64 = 500;

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

impl entry::Model {
    fn sealed_hash(&self, db: &Db, chain: Uuid, seq: i64, previous: &[u8]) -> Result<Vec<u8>, StorageError> {
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
        let chains: Vec<Uuid> = entry::Entity::find()
            .select_only()
            .column(entry::Column::OrgId)
            .distinct()
            .filter(entry::Column::Seq.is_null())
            .into_tuple()
            .all(db.conn())
            .await?;
        if chains.is_empty() {
            return Ok(sealed);
        }
        for chain in chains {
            sealed += db.write(|tx| async move { seal_batch(&tx, chain).await }).await?;
        }
    }
}

async fn seal_batch(tx: &Tx, chain: Uuid) -> Result<u64, StorageError> {
    let first = head::Model {
        org_id: chain,
        seq: 0,
        hash: Vec::new(),
    };
    insert_if_absent::<head::Entity>(tx, first).await?;
    let head = head::Entity::find_by_id(chain).lock_exclusive().one(tx).await?;
    let head::Model {
        mut seq, mut hash, ..
    } = head.ok_or_else(|| StorageError::Fault("audit chain head not found".into()))?;

    let rows = entry::Entity::find()
        .filter(entry::Column::OrgId.eq(chain))
        .filter(entry::Column::Seq.is_null())
        .order_by_asc(entry::Column::EntryId)
        .limit(BATCH)
        .all(tx)
        .await?;
    let count = rows.len() as u64;
    for entry in rows {
        seq += 1;
        let next = entry.sealed_hash(tx.db(), chain, seq, &hash)?;
        let sealed = entry::ActiveModel {
            seq: Set(Some(seq)),
            prev_hash: Set(Some(hash)),
            hash: Set(Some(next.clone())),
            ..Default::default()
        };
        entry::Entity::update_many()
            .set(sealed)
            .filter(entry::Column::OrgId.eq(chain))
            .filter(entry::Column::EntryId.eq(entry.entry_id))
            .exec(tx)
            .await?;
        hash = next;
    }
    let moved = head::ActiveModel {
        seq: Set(seq),
        hash: Set(hash),
        ..Default::default()
    };
    head::Entity::update_many()
        .set(moved)
        .filter(head::Column::OrgId.eq(chain))
        .exec(tx)
        .await?;
    Ok(count)
}

/// Recomputes and verifies the chain of an organization, or that of the platform.
pub async fn verify(db: &Db, org_id: Option<OrgId>) -> Result<Chain, AuditError> {
    let chain = chain_key(org_id);
    db.read(|tx| async move { verify_chain(&tx, chain).await }).await
}

async fn verify_chain(tx: &Tx, chain: Uuid) -> Result<Chain, AuditError> {
    let (mut seq, mut hash) = (0_i64, Vec::new());
    loop {
        let rows = entry::Entity::find()
            .filter(entry::Column::OrgId.eq(chain))
            .filter(entry::Column::Seq.gt(seq))
            .order_by_asc(entry::Column::Seq)
            .limit(BATCH)
            .all(tx)
            .await
            .map_err(StorageError::from)?;
        let is_last_batch = (rows.len() as u64) < BATCH;
        for entry in rows {
            let broken = |why| AuditError::Broken { seq: seq + 1, why };
            if entry.seq != Some(seq + 1) {
                return Err(broken("a row is missing"));
            }
            if entry.prev_hash.as_deref() != Some(hash.as_slice()) {
                return Err(broken("the row does not follow the previous one"));
            }
            let next = entry.sealed_hash(tx.db(), chain, seq + 1, &hash)?;
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
    let head = head::Entity::find_by_id(chain)
        .one(tx)
        .await
        .map_err(StorageError::from)?
        .map_or((0, Vec::new()), |head| (head.seq, head.hash));
    if head != (seq, hash.clone()) {
        return Err(AuditError::Broken {
            seq: seq + 1,
            why: "rows were removed from the end or added to it",
        });
    }
    Ok(Chain { seq, hash })
}
