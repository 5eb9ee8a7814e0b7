//! Reads the event log and purges events older than the retention.
use chrono::TimeDelta;
use parta_database::{Db, LogHead, StorageError};
use parta_ids::{EventId, OrgId, TypedId};
use sea_orm::{ConnectionTrait, Statement, Value};

use crate::{FeedEvent, kind::EventMeta};

/// The retention of events, in days. Older cursors have expired.
pub const RETENTION_DAYS: i64 = 30;

/// Returns the position before the oldest stored event.
pub(crate) async fn floor(conn: &impl ConnectionTrait, head: LogHead) -> Result<i64, StorageError> {
    let sql = "SELECT MIN(position) AS position FROM event";
    let row = conn
        .query_one_raw(Statement::from_string(conn.get_database_backend(), sql))
        .await?;
    let oldest: Option<i64> = row.map(|row| row.try_get("", "position")).transpose()?.flatten();
    Ok(oldest.map_or(head.position, |position| position - 1))
}

/// Returns at most `limit` events after one position and up to another.
pub(crate) async fn list_after<E: FeedEvent>(
    conn: &impl ConnectionTrait,
    after: i64,
    until: i64,
    org_id: Option<OrgId>,
    limit: u64,
) -> Result<Vec<E>, StorageError> {
    let mut values: Vec<Value> = vec![after.into(), until.into()];
    let of_org = match org_id {
        Some(org_id) => {
            values.push(org_id.uuid().into());
            "AND org_id = $3"
        }
        None => "",
    };
    let sql = format!(
        "SELECT position, event_id, org_id, occur_time, trace_parent, payload FROM event \
         WHERE position > $1 AND position <= $2 {of_org} ORDER BY position LIMIT {limit}"
    );
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    let rows = conn.query_all_raw(statement).await?;
    rows.into_iter()
        .map(|row| {
            let meta = EventMeta {
                event_id: EventId::from_uuid(row.try_get("", "event_id")?),
                org_id: OrgId::from_uuid(row.try_get("", "org_id")?),
                position: row.try_get("", "position")?,
                occur_time: row.try_get("", "occur_time")?,
                trace_parent: row.try_get("", "trace_parent")?,
            };
            let payload: Vec<u8> = row.try_get("", "payload")?;
            let mut event = E::decode(payload.as_slice()).map_err(|e| StorageError::Fault(e.to_string()))?;
            meta.set(&mut event);
            Ok(event)
        })
        .collect()
}

/// Deletes the oldest events up to the first one within the retention, so that the remaining positions are
/// dense.
pub async fn purge(db: &Db) -> Result<(), StorageError> {
    let before = db.env().now() - TimeDelta::days(RETENTION_DAYS);
    let count = db
        .write(|tx| async move {
            let sql = "DELETE FROM event WHERE position < COALESCE(\
                       (SELECT MIN(position) FROM event WHERE occur_time >= $1), \
                       (SELECT position + 1 FROM event_head WHERE head_id = 1))";
            let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, [before.into()]);
            Ok::<_, StorageError>(tx.execute_raw(statement).await?.rows_affected())
        })
        .await?;
    if count > 0 {
        tracing::info!(count, "events purged");
    }
    Ok(())
}
