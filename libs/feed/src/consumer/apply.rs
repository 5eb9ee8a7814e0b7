//! Applies batches and snapshots inside the transaction of the consumer.
use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use parta_database::{Db, StorageError, Tx};
use parta_ids::{OrgId, TypedId};
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Consumer, HandleError, Handler,
    quarantine::{self, Request, build},
};
use crate::{Cursor, FeedEvent, Snapshot, Source};

/// A transaction takes on no further organization after this time, so that requests do not wait behind it.
const TOGETHER: Duration = Duration::from_millis(50);
/// A transaction waits this long for a lock of PostgreSQL and is then repeated, a few times at most. A worker
/// would otherwise stay with an organization whose rows another transaction holds, and four such
/// organizations would stop the consumer for all.
const LOCK_TIMEOUT: &str = "250ms";

/// The reason why a transaction was rolled back.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database failed; a retry can succeed.
    Storage(StorageError),
    /// The events cannot be applied.
    Events(String),
    /// Another replica holds the cursor.
    Locked,
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<HandleError> for Failure {
    fn from(error: HandleError) -> Self {
        match error {
            HandleError::Storage(error) if error.is_transient() => Self::Storage(error),
            // Messages of the database may quote values of a row.
            HandleError::Storage(
                error @ (StorageError::UniqueViolation { .. }
                | StorageError::ForeignKeyViolation { .. }
                | StorageError::UnknownValue { .. }),
            ) => Self::Events(error.to_string()),
            HandleError::Storage(_) => Self::Events("the database rejected a row".to_owned()),
            HandleError::Failed(why) => Self::Events(why),
        }
    }
}

/// The stored state of a consumer for one organization.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The cursor as text; empty before the first batch.
    pub(super) text: String,
    /// The decoded cursor; `None` before the first batch.
    pub(super) cursor: Option<Cursor>,
    /// The builds that could not apply the next events; `None` if the organization is not quarantined.
    pub(super) failed_builds: Option<String>,
    pub(super) request: Request,
    /// The build that has met events of a kind that it does not know; empty if there were none.
    pub(super) unknown_build: String,
    /// Whether the row of the cursor exists.
    pub(super) has_row: bool,
}

impl Stored {
    /// Whether this build cannot apply the next events.
    pub(super) fn is_closed(&self) -> bool {
        self.failed_builds.as_deref().is_some_and(quarantine::has_failed)
    }

    /// Whether another build has met events of a kind that it did not know.
    pub(super) fn is_outdated(&self) -> bool {
        !self.unknown_build.is_empty() && self.unknown_build != build()
    }

    /// Whether nothing but the next events is to apply.
    pub(super) fn is_plain(&self) -> bool {
        self.request == Request::None && self.failed_builds.is_none() && !self.is_outdated()
    }
}

fn decode(org_id: OrgId, row: &QueryResult) -> Result<Option<Cursor>, StorageError> {
    let epoch: Option<Uuid> = row.try_get("", "epoch")?;
    let Some(epoch) = epoch else {
        return Ok(None);
    };
    Ok(Some(Cursor {
        org_id,
        epoch,
        position: row.try_get("", "position")?,
        event_id: row.try_get("", "event_id")?,
    }))
}

/// Returns all cursors of a consumer, and the organizations for which the operator has requested something.
pub(crate) async fn list_cursors(db: &Db, consumer: &str) -> Result<(Vec<Cursor>, Vec<OrgId>), StorageError> {
    let sql = "SELECT org_id, epoch, position, event_id, request FROM feed_cursor WHERE consumer = $1";
    let statement = Statement::from_sql_and_values(db.backend(), sql, [consumer.into()]);
    let (mut cursors, mut requested) = (Vec::new(), Vec::new());
    for row in db.conn().query_all_raw(statement).await? {
        let org_id = OrgId::from_uuid(row.try_get("", "org_id")?);
        cursors.extend(decode(org_id, &row)?);
        let request: i16 = row.try_get("", "request")?;
        if request != 0 {
            requested.push(org_id);
        }
    }
    Ok((cursors, requested))
}

/// Loads the cursor of an organization, and whether it is quarantined.
pub(super) async fn load(db: &Db, consumer: &str, org_id: OrgId) -> Result<Stored, StorageError> {
    let all = load_all(db, consumer, &[org_id]).await?;
    Ok(all
        .into_iter()
        .next()
        .map(|(_, stored)| stored)
        .unwrap_or_default())
}

/// Loads the cursors of organizations, and whether they are quarantined.
pub(super) async fn load_all(
    db: &Db,
    consumer: &str,
    organizations: &[OrgId],
) -> Result<Vec<(OrgId, Stored)>, StorageError> {
    let placeholders: Vec<_> = (0..organizations.len())
        .map(|n| format!("(${})", n + 2))
        .collect();
    let sql = format!(
        "SELECT wanted.column1 AS org_id, c.cursor, c.epoch, c.position, c.event_id, c.request, \
         c.request_event_id, c.unknown_build, q.builds FROM (VALUES {}) AS wanted \
         LEFT JOIN feed_cursor c ON c.org_id = wanted.column1 AND c.consumer = $1 \
         LEFT JOIN feed_quarantine q ON q.org_id = wanted.column1 AND q.consumer = $1",
        placeholders.join(", ")
    );
    let values: Vec<Value> = std::iter::once(consumer.into())
        .chain(organizations.iter().map(|org_id| org_id.uuid().into()))
        .collect();
    let statement = Statement::from_sql_and_values(db.backend(), sql, values);
    let rows = db.conn().query_all_raw(statement).await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let org_id = OrgId::from_uuid(row.try_get("", "org_id")?);
        let text: Option<String> = row.try_get("", "cursor")?;
        let unknown_build: Option<String> = row.try_get("", "unknown_build")?;
        let stored = Stored {
            has_row: text.is_some(),
            text: text.unwrap_or_default(),
            cursor: decode(org_id, &row)?,
            failed_builds: row.try_get("", "builds")?,
            request: Request::decode(row.try_get("", "request")?, row.try_get("", "request_event_id")?)?,
            unknown_build: unknown_build.unwrap_or_default(),
        };
        all.push((org_id, stored));
    }
    Ok(all)
}

/// Inserts the rows of the cursors of organizations that have none.
pub(super) async fn begin(db: &Db, consumer: &str, organizations: &[OrgId]) -> Result<(), StorageError> {
    if organizations.is_empty() {
        return Ok(());
    }
    db.write(|tx| async move {
        let placeholders: Vec<_> = (0..organizations.len())
            .map(|n| format!("(${}, $1, '', 0, $2, $3)", n + 4))
            .collect();
        let sql = format!(
            "INSERT INTO feed_cursor (org_id, consumer, cursor, position, event_id, update_time) \
             VALUES {} ON CONFLICT DO NOTHING",
            placeholders.join(", ")
        );
        let mut sorted = organizations.to_vec();
        // Two replicas insert in the same order, so that neither waits for the other one in a circle.
        sorted.sort_unstable();
        let mut values: Vec<Value> = vec![consumer.into(), Uuid::nil().into(), tx.now().into()];
        values.extend(sorted.iter().map(|org_id| Value::from(org_id.uuid())));
        tx.execute_sql(&sql, values).await?;
        Ok(())
    })
    .await
}

/// Locks the row of the cursor until the transaction ends, and returns the cursor. Never waits for another
/// replica that holds it. Limits the waits of the transaction for other locks.
pub(super) async fn lock(tx: &Tx, consumer: &str, org_id: OrgId) -> Result<Option<Cursor>, Failure> {
    // The setting needs no round trip of its own, but is made only if the row is found.
    let (limit, skip_locked) = if tx.db().is_postgres() {
        let limit = format!(", set_config('lock_timeout', '{LOCK_TIMEOUT}', true)");
        (limit, "FOR UPDATE SKIP LOCKED")
    } else {
        (String::new(), "")
    };
    let sql = format!(
        "SELECT epoch, position, event_id{limit} FROM feed_cursor \
         WHERE org_id = $1 AND consumer = $2 {skip_locked}"
    );
    let values = [org_id.uuid().into(), consumer.into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    match tx.query_one_raw(statement).await.map_err(StorageError::from)? {
        Some(row) => Ok(decode(org_id, &row)?),
        None => Err(Failure::Locked),
    }
}

/// Moves the cursor behind events. If some were of a kind that this build does not know, the build
/// that knows it takes a snapshot.
async fn advance(tx: &Tx, consumer: &str, to: &EncodedCursor, has_unknown: bool) -> Result<(), StorageError> {
    if has_unknown {
        let sql = "UPDATE feed_cursor SET unknown_build = $3 WHERE org_id = $1 AND consumer = $2";
        let values = [to.end.org_id.uuid().into(), consumer.into(), build().into()];
        tx.execute_sql(sql, values).await?;
    }
    let sql = "UPDATE feed_cursor SET cursor = $3, epoch = $4, position = $5, event_id = $6, update_time = $7 \
               WHERE org_id = $1 AND consumer = $2";
    let values = [
        to.end.org_id.uuid().into(),
        consumer.into(),
        to.text.as_str().into(),
        to.end.epoch.into(),
        to.end.position.into(),
        to.end.event_id.into(),
        tx.now().into(),
    ];
    tx.execute_sql(sql, values).await?;
    Ok(())
}

/// The cursor that follows events or a snapshot.
pub(super) struct EncodedCursor {
    /// The cursor as the source has written it.
    pub(super) text: String,
    pub(super) end: Cursor,
}

/// Consecutive events of one organization.
pub(super) struct Batch<E> {
    pub(super) events: Vec<E>,
    /// The cursor after them.
    pub(super) to: EncodedCursor,
}

/// The next events of an organization and the cursor before them.
pub(super) struct Next<E> {
    pub(super) org_id: OrgId,
    pub(super) after: Option<Cursor>,
    pub(super) batch: Batch<E>,
}

impl<E: FeedEvent> Batch<E> {
    fn has_unknown(&self) -> bool {
        self.events.iter().any(|event| event.payload().is_none())
    }
}

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Applies the events that follow a cursor, and moves the cursor. Ends a quarantine: this build can apply
    /// what another one could not. Returns the stored cursor: another one than that of the batch if another
    /// replica was faster.
    pub(super) async fn apply_batch(
        &self,
        after: Option<Cursor>,
        batch: &Batch<S::Event>,
        is_quarantined: bool,
    ) -> Result<Option<Cursor>, Failure> {
        let org_id = batch.to.end.org_id;
        let _writing = self.writing.lock().await;
        self.db
            .write_idempotent(|tx| async move {
                let stored = lock(&tx, self.name, org_id).await?;
                if stored != after {
                    return Ok(stored);
                }
                let applied = AssertUnwindSafe(self.handler.apply(&tx, org_id, &batch.events));
                without_panic(applied.catch_unwind().await)?;
                if is_quarantined {
                    quarantine::clear(&tx, self.name, org_id).await?;
                }
                advance(&tx, self.name, &batch.to, batch.has_unknown()).await?;
                Ok(Some(batch.to.end))
            })
            .await
    }

    /// Applies the events of as many of these organizations as is quick, one at least, in one transaction,
    /// and moves their cursors. Returns the organizations with the stored cursors. SQLite only: PostgreSQL
    /// would hold the locks of one organization while it waits for those of another.
    pub(super) async fn apply_some(
        &self,
        all: &[Next<S::Event>],
    ) -> Result<Vec<(OrgId, Option<Cursor>)>, Failure> {
        let _writing = self.writing.lock().await;
        self.db
            .write_idempotent(|tx| async move {
                let began = Instant::now();
                let mut done = Vec::new();
                for next in all {
                    let stored = lock(&tx, self.name, next.org_id).await?;
                    if stored == next.after {
                        let applied = self.handler.apply(&tx, next.org_id, &next.batch.events);
                        without_panic(AssertUnwindSafe(applied).catch_unwind().await)?;
                        advance(&tx, self.name, &next.batch.to, next.batch.has_unknown()).await?;
                        done.push((next.org_id, Some(next.batch.to.end)));
                    } else {
                        done.push((next.org_id, stored));
                    }
                    // A transaction appends to one log only.
                    if tx.log_org().is_some() || began.elapsed() >= TOGETHER {
                        break;
                    }
                }
                Ok(done)
            })
            .await
    }

    /// Moves the cursor behind an event without applying it, and ends the quarantine.
    pub(super) async fn apply_skip(
        &self,
        after: Option<Cursor>,
        skipped: &Batch<S::Event>,
    ) -> Result<Option<Cursor>, Failure> {
        let org_id = skipped.to.end.org_id;
        let _writing = self.writing.lock().await;
        self.db
            .write_idempotent(|tx| async move {
                let stored = lock(&tx, self.name, org_id).await?;
                if stored != after {
                    return Ok(stored);
                }
                quarantine::clear(&tx, self.name, org_id).await?;
                advance(&tx, self.name, &skipped.to, skipped.has_unknown()).await?;
                quarantine::set_request(&tx, self.name, org_id, Request::Correct, None).await?;
                Ok(Some(skipped.to.end))
            })
            .await
    }

    /// Replaces the projection of an organization by a snapshot, and moves the cursor, also backward. Clears
    /// the request of the operator that it carries out; a later one stays.
    pub(super) async fn apply_snapshot(
        &self,
        after: Option<Cursor>,
        done: Request,
        snapshot: &Snapshot<S::Event>,
        to: &EncodedCursor,
    ) -> Result<Option<Cursor>, Failure> {
        let org_id = to.end.org_id;
        let _writing = self.writing.lock().await;
        self.db
            .write_idempotent(|tx| async move {
                let stored = lock(&tx, self.name, org_id).await?;
                if stored != after {
                    return Ok(stored);
                }
                let replaced = AssertUnwindSafe(self.handler.replace(&tx, org_id, snapshot));
                without_panic(replaced.catch_unwind().await)?;
                quarantine::clear(&tx, self.name, org_id).await?;
                quarantine::set_request(&tx, self.name, org_id, Request::None, Some(done)).await?;
                let sql = "UPDATE feed_cursor SET unknown_build = '' WHERE org_id = $1 AND consumer = $2";
                let key = [org_id.uuid().into(), self.name.into()];
                tx.execute_sql(sql, key).await.map_err(StorageError::from)?;
                advance(&tx, self.name, to, snapshot.has_unknown()).await?;
                Ok(Some(to.end))
            })
            .await
    }
}

/// A panic of the handler affects one organization and must not end the consumer.
fn without_panic(applied: std::thread::Result<Result<(), HandleError>>) -> Result<(), Failure> {
    match applied {
        Ok(applied) => Ok(applied?),
        Err(_) => Err(Failure::Events("the handler panicked".to_owned())),
    }
}
