//! Reads the event logs.
use chrono::{DateTime, Utc};
use parta_database::{Db, LogHead, StorageError};
use parta_ids::{EventId, OrgId, TypedId};
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use uuid::Uuid;

use crate::{Cursor, FeedEvent, consumer::list_cursors, kind::EventMeta};

/// Largest number of events of one page.
pub(crate) const PAGE: u64 = 256;

/// Returns at most `limit` events of an organization after the cursor, which is `None` at the beginning of
/// the log, and the cursor after them. Refuses a cursor of another history of the log and one whose events
/// were purged.
pub(crate) async fn read_page<E: FeedEvent>(
    db: &Db,
    org_id: OrgId,
    after: Option<Cursor>,
    limit: u64,
) -> Result<(Vec<E>, Cursor), RpcError> {
    let position = after.map_or(0, |after| after.position);
    let (head, rows) = list_after(db.conn(), org_id, position, limit).await?;
    let after = after.unwrap_or(Cursor {
        org_id,
        epoch: head.epoch,
        position: 0,
        event_id: Uuid::nil(),
    });
    if is_lost(&after, head, rows.first()) {
        return Err(expired().meta(HISTORY, LOST));
    }
    if after.epoch != head.epoch {
        return Err(expired());
    }
    if after.position == head.position {
        return Ok((Vec::new(), after));
    }
    // Events that are missing without a contradiction were purged.
    if rows
        .first()
        .is_none_or(|first| first.position != after.position + 1)
    {
        return Err(expired());
    }
    let mut events = Vec::with_capacity(rows.len());
    let mut cursor = after;
    for row in rows {
        cursor = Cursor {
            position: row.position,
            event_id: row.event_id,
            ..cursor
        };
        events.push(row.into_event(org_id)?);
    }
    Ok((events, cursor))
}

/// The key and the value in the metadata of the refusal of a cursor whose event the log has lost.
const HISTORY: &str = "history";
const LOST: &str = "lost";

/// Returns whether a source has refused a cursor because its log has lost the event of the cursor.
pub(crate) fn names_a_loss(refusal: &RpcError) -> bool {
    refusal.metadata(HISTORY) == Some(LOST)
}

/// Whether the log has lost the event at the cursor: it ends before the cursor, or has another event at that
/// position. `next` is the first stored event after the cursor. The epoch has no part in this: the operator
/// can begin a new one after a loss.
fn is_lost(after: &Cursor, head: LogHead, next: Option<&Row>) -> bool {
    let contradicts = |next: &Row| next.position == after.position + 1 && next.previous_id != after.event_id;
    after.position > head.position
        || (after.position == head.position && after.event_id != head.event_id)
        || next.is_some_and(contradicts)
}

/// Returns the cursors of a consumer whose events the logs of the source have lost. `db` is the database of
/// the consumer.
pub async fn list_lost(source: &Db, db: &Db, consumer: &str) -> Result<Vec<Cursor>, StorageError> {
    let mut lost = Vec::new();
    for cursor in list_cursors(db, consumer).await?.0 {
        let (head, rows) = list_after(source.conn(), cursor.org_id, cursor.position, 1).await?;
        if is_lost(&cursor, head, rows.first()) {
            lost.push(cursor);
        }
    }
    Ok(lost)
}

/// Returns the refusal of a cursor whose events were purged, or that belongs to another history of the log.
pub(crate) fn expired() -> RpcError {
    RpcError::new(
        ErrorReason::CursorExpired,
        "The cursor has expired. Read a snapshot and resume from its cursor.",
    )
}

struct Row {
    position: i64,
    event_id: Uuid,
    previous_id: Uuid,
    occur_time: DateTime<Utc>,
    trace_parent: String,
    payload: Vec<u8>,
}

impl Row {
    fn read(row: &QueryResult) -> Result<Self, sea_orm::DbErr> {
        Ok(Self {
            position: row.try_get("", "position")?,
            event_id: row.try_get("", "event_id")?,
            previous_id: row.try_get("", "previous_id")?,
            occur_time: row.try_get("", "occur_time")?,
            trace_parent: row.try_get("", "trace_parent")?,
            payload: row.try_get("", "payload")?,
        })
    }

    fn into_event<E: FeedEvent>(self, org_id: OrgId) -> Result<E, StorageError> {
        let decoded = E::decode(self.payload.as_slice());
        let mut event = decoded
            .map_err(|error| StorageError::Fault(format!("event {} of {org_id}: {error}", self.position)))?;
        let meta = EventMeta {
            event_id: EventId::from_uuid(self.event_id),
            org_id,
            position: self.position,
            occur_time: self.occur_time,
            trace_parent: self.trace_parent,
        };
        meta.set(&mut event);
        Ok(event)
    }
}

/// Returns the head of a log and its next events. One statement sees both at the same time.
async fn list_after(
    conn: &impl ConnectionTrait,
    org_id: OrgId,
    after: i64,
    limit: u64,
) -> Result<(LogHead, Vec<Row>), StorageError> {
    let sql = format!(
        "SELECT x.epoch, h.position AS head_position, h.event_id AS head_event_id, e.position, e.event_id, \
         e.previous_id, e.occur_time, e.trace_parent, e.payload FROM event_epoch x \
         LEFT JOIN event_head h ON h.org_id = $1 \
         LEFT JOIN (SELECT position, event_id, previous_id, occur_time, trace_parent, payload FROM event \
           WHERE org_id = $1 AND position > $2 ORDER BY position LIMIT {limit}) e ON TRUE ORDER BY e.position"
    );
    let values = [org_id.uuid().into(), after.into()];
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    let rows = conn.query_all_raw(statement).await?;
    let first = rows.first().ok_or_else(no_epoch)?;
    let head = LogHead {
        epoch: first.try_get("", "epoch")?,
        position: first.try_get::<Option<i64>>("", "head_position")?.unwrap_or(0),
        event_id: first
            .try_get::<Option<Uuid>>("", "head_event_id")?
            .unwrap_or(Uuid::nil()),
    };
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let position: Option<i64> = row.try_get("", "position")?;
        if position.is_some() {
            events.push(Row::read(row)?);
        }
    }
    Ok((head, events))
}

fn no_epoch() -> StorageError {
    StorageError::Schema("the database has no epoch: migrate it".into())
}

/// Returns the heads of all logs.
pub(crate) async fn list_heads(
    conn: &impl ConnectionTrait,
) -> Result<(Uuid, Vec<(OrgId, LogHead)>), StorageError> {
    let sql = "SELECT e.epoch, h.org_id, h.position, h.event_id FROM event_epoch e \
               LEFT JOIN event_head h ON TRUE";
    let rows = conn
        .query_all_raw(Statement::from_string(conn.get_database_backend(), sql))
        .await?;
    let mut heads = Vec::with_capacity(rows.len());
    let mut epoch = None;
    for row in rows {
        let of: Uuid = row.try_get("", "epoch")?;
        epoch = Some(of);
        let org_id: Option<Uuid> = row.try_get("", "org_id")?;
        if let Some(org_id) = org_id {
            let head = LogHead {
                epoch: of,
                position: row.try_get("", "position")?,
                event_id: row.try_get("", "event_id")?,
            };
            heads.push((OrgId::from_uuid(org_id), head));
        }
    }
    Ok((epoch.ok_or_else(no_epoch)?, heads))
}
