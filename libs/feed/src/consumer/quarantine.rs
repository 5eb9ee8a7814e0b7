//! Quarantined organizations.
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use parta_database::{Db, StorageError, Tx};
use parta_ids::{OrgId, TypedId};
use sea_orm::{ConnectionTrait, Statement};
use tokio::time::Instant;

/// An organization whose events a consumer could not apply. Its cursor stays; the log of the source keeps the
/// events.
#[derive(Debug, Clone)]
pub struct QuarantinedOrganization {
    /// The name of the consumer.
    pub consumer: String,
    /// The organization.
    pub org_id: OrgId,
    /// The position of the last event that was applied.
    pub position: i64,
    /// Why the next events and a snapshot could not be applied.
    pub reason: String,
    /// The time when it was quarantined.
    pub quarantine_time: DateTime<Utc>,
}

/// Returns all organizations that the consumers of this database have quarantined.
pub async fn list_quarantined(
    conn: &impl ConnectionTrait,
) -> Result<Vec<QuarantinedOrganization>, StorageError> {
    let sql = "SELECT consumer, org_id, position, reason, quarantine_time FROM feed_quarantine \
               ORDER BY org_id, consumer";
    let statement = Statement::from_string(conn.get_database_backend(), sql);
    let rows = conn.query_all_raw(statement).await?;
    rows.into_iter()
        .map(|row| {
            Ok(QuarantinedOrganization {
                consumer: row.try_get("", "consumer")?,
                org_id: OrgId::from_uuid(row.try_get("", "org_id")?),
                position: row.try_get("", "position")?,
                reason: row.try_get("", "reason")?,
                quarantine_time: row.try_get("", "quarantine_time")?,
            })
        })
        .collect()
}

/// Ends a quarantine, so that the consumer tries again within seconds. If it fails again, the organization is
/// quarantined again. Returns whether there was one.
pub async fn release(db: &Db, consumer: &str, org_id: OrgId) -> Result<bool, StorageError> {
    db.write(|tx| async move { clear(&tx, consumer, org_id).await })
        .await
}

pub(super) async fn clear(tx: &Tx, consumer: &str, org_id: OrgId) -> Result<bool, StorageError> {
    let sql = "DELETE FROM feed_quarantine WHERE org_id = $1 AND consumer = $2";
    Ok(tx
        .execute_sql(sql, [org_id.uuid().into(), consumer.into()])
        .await?
        > 0)
}

pub(super) async fn put(
    tx: &Tx,
    consumer: &str,
    org_id: OrgId,
    position: i64,
    reason: &str,
) -> Result<(), StorageError> {
    let sql = "INSERT INTO feed_quarantine (org_id, consumer, position, reason, quarantine_time) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
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

/// Within this time, this many organizations that fail have a common cause.
const WINDOW: Duration = Duration::from_mins(1);
const LIMIT: usize = 5;

/// Stops the quarantining when many organizations fail at once: the fault is then that of a build or of the
/// database, and closing more organizations would make it worse. Those quarantined before remain so.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<VecDeque<(Instant, OrgId)>>);

impl Breaker {
    /// Notes a failure and returns whether the organization may be quarantined.
    pub(super) fn allows(&self, org_id: OrgId) -> bool {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while failures
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > WINDOW)
        {
            failures.pop_front();
        }
        failures.retain(|(_, failed)| *failed != org_id);
        failures.push_back((now, org_id));
        failures.len() < LIMIT
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn fifth_failing_organization_is_not_quarantined() {
        parta_testkit::run_paused(async {
            let breaker = Breaker::default();
            let org = |n| OrgId::from_uuid(Uuid::from_u128(n));
            for n in 1..=4 {
                assert!(breaker.allows(org(n)));
                assert!(breaker.allows(org(n)), "one organization counts once");
            }
            assert!(!breaker.allows(org(5)));
            // The clock of the runtime does not wait. An organization that fails again counts from then on.
            tokio::time::sleep(WINDOW / 2).await;
            for n in 1..=4 {
                assert!(!breaker.allows(org(n)));
            }
            tokio::time::sleep(WINDOW / 2 + Duration::from_secs(1)).await;
            assert!(!breaker.allows(org(6)));
            tokio::time::sleep(WINDOW + Duration::from_secs(1)).await;
            assert!(breaker.allows(org(7)));
        });
    }
}
