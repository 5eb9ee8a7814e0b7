use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use opentelemetry::trace::TraceContextExt;
use parta_database::{CommitStep, Db, LogHead, StorageError, Tx};
use parta_ids::{EventId, OrgId, TypedId};
use prost::Message;
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use crate::{EventPayload, heads::Heads};

/// Appends an event to the log of an organization at the service that owns the transaction. The event gets
/// its position at the commit, after all other work of the transaction, and is discarded on a rollback. A
/// transaction appends to one log only: a second organization makes it fail.
pub fn append_event(tx: &Tx, org_id: OrgId, payload: impl EventPayload) {
    tx.append_to(org_id);
    let payload = payload.into_event().encode_to_vec();
    let outbox = tx.step::<Outbox>();
    outbox.staged().push((org_id, payload));
}

#[derive(Default)]
struct Outbox {
    staged: Mutex<Vec<(OrgId, Vec<u8>)>>,
    appended: Mutex<Option<(OrgId, LogHead)>>,
}

impl Outbox {
    fn staged(&self) -> std::sync::MutexGuard<'_, Vec<(OrgId, Vec<u8>)>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ROWS_PER_INSERT: usize = 500;

#[async_trait]
impl CommitStep for Outbox {
    async fn before_commit(&self, tx: &Tx) -> Result<(), StorageError> {
        let staged = std::mem::take(&mut *self.staged());
        let Some(org_id) = staged.first().map(|(org_id, _)| *org_id) else {
            return Ok(());
        };
        if let Some((other, _)) = staged.iter().find(|(other, _)| *other != org_id) {
            return Err(StorageError::Fault(format!(
                "a transaction appends to the logs of {org_id} and {other}"
            )));
        }
        let events: Vec<(Uuid, Vec<u8>)> = staged
            .into_iter()
            .map(|(_, payload)| (tx.env().id::<EventId>().uuid(), payload))
            .collect();
        let mut head = None;
        for chunk in events.chunks(ROWS_PER_INSERT) {
            head = Some(append(tx, org_id, chunk).await?);
        }
        if let Some(head) = head {
            tx.set_head(head);
            *self.appended.lock().unwrap_or_else(PoisonError::into_inner) = Some((org_id, head));
        }
        Ok(())
    }

    fn after_commit(&self, db: &Db) {
        let appended = *self.appended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((org_id, head)) = appended {
            db.shared::<Heads>().committed(org_id, head);
        }
    }
}

const MOVE_HEAD: &str = "INSERT INTO event_head (org_id, position, event_id, previous_id) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (org_id) DO UPDATE SET position = event_head.position + excluded.position, \
    event_id = excluded.event_id, previous_id = event_head.event_id \
    RETURNING position, previous_id, (SELECT epoch FROM event_epoch) AS epoch";

/// Moves the head of the log and inserts the events, on PostgreSQL in one statement: other transactions of
/// the organization wait for the head until the commit, so nothing but the commit may follow.
async fn append(tx: &Tx, org_id: OrgId, events: &[(Uuid, Vec<u8>)]) -> Result<LogHead, StorageError> {
    let count = i64::try_from(events.len()).map_err(|e| StorageError::Fault(e.to_string()))?;
    let Some((last, _)) = events.last() else {
        return Err(StorageError::Fault("no event to append".into()));
    };
    let backend = tx.get_database_backend();
    let mut values: Vec<Value> = vec![
        org_id.uuid().into(),
        count.into(),
        (*last).into(),
        Uuid::nil().into(),
    ];
    if tx.db().is_postgres() {
        values.extend([tx.now().into(), trace_parent().into()]);
        let rows = rows_of(events, None, &mut values);
        let sql = format!(
            "WITH head AS ({MOVE_HEAD}), staged (n, event_id, previous_id, payload) AS (VALUES {rows}), \
             inserted AS (INSERT INTO event (org_id, position, event_id, previous_id, occur_time, trace_parent, payload) \
             SELECT $1, head.position - $2 + staged.n, staged.event_id, COALESCE(staged.previous_id, head.previous_id), \
             $5, $6, staged.payload FROM staged, head) SELECT position, epoch FROM head"
        );
        let statement = Statement::from_sql_and_values(backend, sql, values);
        return decode(tx.query_one_raw(statement).await?.as_ref(), *last);
    }
    let moved = Statement::from_sql_and_values(backend, MOVE_HEAD, values);
    let moved = tx.query_one_raw(moved).await?;
    let head = decode(moved.as_ref(), *last)?;
    let before: Option<Uuid> = moved.map(|row| row.try_get("", "previous_id")).transpose()?;
    let mut values: Vec<Value> = vec![
        org_id.uuid().into(),
        (head.position - count).into(),
        tx.now().into(),
        trace_parent().into(),
    ];
    let rows = rows_of(events, before, &mut values);
    let sql = format!(
        "INSERT INTO event (org_id, position, event_id, previous_id, occur_time, trace_parent, payload) \
         SELECT $1, $2 + column1, column2, column3, $3, $4, column4 FROM (VALUES {rows})"
    );
    tx.execute_sql(&sql, values).await?;
    Ok(head)
}

/// Adds the number, the id, the id before and the payload of each event to the values of a statement, and
/// returns their placeholders. `before` is the event before the first, if it is known.
fn rows_of(events: &[(Uuid, Vec<u8>)], before: Option<Uuid>, values: &mut Vec<Value>) -> String {
    let mut before = before;
    let mut rows = Vec::with_capacity(events.len());
    for ((event_id, payload), n) in events.iter().zip(1_i64..) {
        let at = values.len();
        rows.push(format!("(${}, ${}, ${}, ${})", at + 1, at + 2, at + 3, at + 4));
        values.extend([
            n.into(),
            (*event_id).into(),
            before.into(),
            payload.clone().into(),
        ]);
        before = Some(*event_id);
    }
    rows.join(", ")
}

fn decode(row: Option<&QueryResult>, last: Uuid) -> Result<LogHead, StorageError> {
    let row = row.ok_or_else(|| StorageError::Fault("the head of the log was not moved".into()))?;
    Ok(LogHead {
        epoch: row.try_get("", "epoch")?,
        position: row.try_get("", "position")?,
        event_id: last,
    })
}

fn trace_parent() -> String {
    let context = tracing::Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return String::new();
    }
    format!(
        "00-{}-{}-{:02x}",
        span.trace_id(),
        span.span_id(),
        span.trace_flags().to_u8()
    )
}
