use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use opentelemetry::trace::TraceContextExt;
use parta_database::{CommitStep, Db, StorageError, Tx};
use parta_ids::{EventId, OrgId, TypedId};
use prost::Message;
use sea_orm::Value;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::EventPayload;

/// Appends an event to the feed of the service that owns the transaction. The event gets its position at the
/// commit, after all other work of the transaction, and is discarded on a rollback.
pub fn append_event(tx: &Tx, org_id: OrgId, payload: impl EventPayload) {
    let staged = Staged {
        org_id,
        payload: payload.into_event().encode_to_vec(),
    };
    tx.step::<Outbox>()
        .staged
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(staged);
}

struct Staged {
    org_id: OrgId,
    payload: Vec<u8>,
}

#[derive(Default)]
struct Outbox {
    staged: Mutex<Vec<Staged>>,
    position: AtomicI64,
}

/// Columns of the table `event`.
const COLUMNS: usize = 6;
const ROWS_PER_INSERT: usize = 500;

#[async_trait]
impl CommitStep for Outbox {
    async fn before_commit(&self, tx: &Tx) -> Result<(), StorageError> {
        let staged = std::mem::take(&mut *self.staged.lock().unwrap_or_else(PoisonError::into_inner));
        let count = i64::try_from(staged.len()).map_err(|e| StorageError::Fault(e.to_string()))?;
        if count == 0 {
            return Ok(());
        }
        let head = tx.advance_head(count).await?;
        let trace_parent = trace_parent();
        let rows = staged
            .into_iter()
            .zip(head.position - count + 1..)
            .map(|(event, position)| {
                [
                    position.into(),
                    tx.env().id::<EventId>().uuid().into(),
                    event.org_id.uuid().into(),
                    tx.now().into(),
                    trace_parent.as_str().into(),
                    event.payload.into(),
                ]
            });
        let rows: Vec<[Value; COLUMNS]> = rows.collect();
        for chunk in rows.chunks(ROWS_PER_INSERT) {
            let placeholders: Vec<String> = (0..chunk.len())
                .map(|row| {
                    let n = row * COLUMNS;
                    format!(
                        "(${}, ${}, ${}, ${}, ${}, ${})",
                        n + 1,
                        n + 2,
                        n + 3,
                        n + 4,
                        n + 5,
                        n + 6
                    )
                })
                .collect();
            let sql = format!(
                "INSERT INTO event (position, event_id, org_id, occur_time, trace_parent, payload) VALUES {}",
                placeholders.join(", ")
            );
            let values = chunk.iter().flatten().cloned();
            tx.execute_sql(&sql, values).await?;
        }
        self.position.store(head.position, Ordering::Relaxed);
        Ok(())
    }

    fn after_commit(&self, db: &Db) {
        let position = self.position.load(Ordering::Relaxed);
        if position > 0 {
            db.hint_events(position);
        }
    }
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
