//! Quarantined organizations and their waiting events.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_database::{StorageError, Tx};
use parta_ids::{OrgId, TypedId};
use sea_orm::{ConnectionTrait, Statement};

use crate::FeedEvent;

/// An organization that a consumer has quarantined.
#[derive(Debug, Clone)]
pub struct QuarantinedOrganization {
    /// The name of the consumer.
    pub consumer: String,
    /// The organization.
    pub org_id: OrgId,
    /// The position of the event that failed.
    pub position: i64,
    /// Why it failed.
    pub reason: String,
    /// The time when it was quarantined.
    pub park_time: DateTime<Utc>,
}

/// Returns whether the organization is quarantined. Calls that depend on its waiting events must be refused
/// with ORGANIZATION_QUARANTINED.
pub async fn is_quarantined(
    conn: &impl ConnectionTrait,
    consumer: &str,
    org_id: OrgId,
) -> Result<bool, StorageError> {
    let sql = "SELECT 1 AS one FROM feed_quarantine WHERE org_id = $1 AND consumer = $2";
    let values = [org_id.uuid().into(), consumer.into()];
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    Ok(conn.query_one_raw(statement).await?.is_some())
}

/// Returns all organizations that the consumers of this database have quarantined.
pub async fn list_quarantined(
    conn: &impl ConnectionTrait,
) -> Result<Vec<QuarantinedOrganization>, StorageError> {
    let sql =
        "SELECT consumer, org_id, position, reason, park_time FROM feed_quarantine ORDER BY consumer, org_id";
    let rows = conn
        .query_all_raw(Statement::from_string(conn.get_database_backend(), sql))
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(QuarantinedOrganization {
                consumer: row.try_get("", "consumer")?,
                org_id: OrgId::from_uuid(row.try_get("", "org_id")?),
                position: row.try_get("", "position")?,
                reason: row.try_get("", "reason")?,
                park_time: row.try_get("", "park_time")?,
            })
        })
        .collect()
}

pub(super) async fn organizations(tx: &Tx, consumer: &str) -> Result<BTreeSet<OrgId>, StorageError> {
    let sql = "SELECT org_id FROM feed_quarantine WHERE consumer = $1";
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, [consumer.into()]);
    let rows = tx.query_all_raw(statement).await?;
    rows.into_iter()
        .map(|row| Ok(OrgId::from_uuid(row.try_get("", "org_id")?)))
        .collect()
}

pub(super) async fn clear(tx: &Tx, consumer: &str) -> Result<(), StorageError> {
    let sql = "DELETE FROM feed_quarantine WHERE consumer = $1";
    tx.execute_sql(sql, [consumer.into()]).await?;
    Ok(())
}

pub(super) async fn quarantine(
    tx: &Tx,
    consumer: &str,
    org_id: OrgId,
    position: i64,
    reason: &str,
) -> Result<(), StorageError> {
    tracing::error!(consumer, org.id = %org_id, position, reason, "event handler failed, organization quarantined");
    let sql = "INSERT INTO feed_quarantine (org_id, consumer, position, reason, park_time) VALUES ($1, $2, $3, $4, $5)";
    let values = [
        org_id.uuid().into(),
        consumer.into(),
        position.into(),
        reason.into(),
        tx.now().into(),
    ];
    tx.execute_sql(sql, values).await?;
    Ok(())
}

pub(super) async fn queue(
    tx: &Tx,
    consumer: &str,
    org_id: OrgId,
    event: &impl FeedEvent,
) -> Result<(), StorageError> {
    let sql = "INSERT INTO feed_quarantine_event (org_id, consumer, seq, event) \
               SELECT $1, $2, COALESCE(MAX(seq), 0) + 1, $3 FROM feed_quarantine_event WHERE org_id = $1 AND consumer = $2";
    let values = [
        org_id.uuid().into(),
        consumer.into(),
        event.encode_to_vec().into(),
    ];
    tx.execute_sql(sql, values).await?;
    Ok(())
}
