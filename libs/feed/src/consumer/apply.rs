//! Applies batches and snapshots inside the transaction of the consumer.
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
};

use futures::FutureExt;
use parta_database::{StorageError, Tx};
use parta_ids::OrgId;
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

use super::{Consumer, HandleError, Handler, quarantined};
use crate::{Cursor, FeedEvent, Source};

/// The reason why a batch was rolled back.
#[derive(Debug)]
pub(super) enum Failure {
    Storage(StorageError),
    /// The event with this index in the batch cannot be applied.
    Event {
        index: usize,
        reason: String,
    },
    /// Another replica has switched to another incarnation.
    Superseded,
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// The stored progress of a consumer.
pub(super) struct StoredCursor {
    /// The cursor as text; empty before the first batch.
    pub(super) text: String,
    /// The decoded cursor; `None` before the first batch.
    pub(super) cursor: Option<Cursor>,
}

/// Loads the row of the cursor and locks it until the transaction ends.
pub(super) async fn lock(tx: &Tx, consumer: &str) -> Result<StoredCursor, StorageError> {
    let backend = tx.get_database_backend();
    let sql = "INSERT INTO feed_cursor (consumer, cursor, position, update_time) VALUES ($1, '', 0, $2) \
               ON CONFLICT DO NOTHING";
    tx.execute_raw(Statement::from_sql_and_values(
        backend,
        sql,
        [consumer.into(), tx.now().into()],
    ))
    .await?;
    let lock = if tx.db().is_postgres() { "FOR UPDATE" } else { "" };
    let sql = format!("SELECT cursor, incarnation, position FROM feed_cursor WHERE consumer = $1 {lock}");
    let row = tx
        .query_one_raw(Statement::from_sql_and_values(backend, sql, [consumer.into()]))
        .await?;
    decode(row)
}

pub(super) fn decode(row: Option<sea_orm::QueryResult>) -> Result<StoredCursor, StorageError> {
    let Some(row) = row else {
        return Ok(StoredCursor {
            text: String::new(),
            cursor: None,
        });
    };
    let incarnation: Option<Uuid> = row.try_get("", "incarnation")?;
    let position = row.try_get("", "position")?;
    let cursor = incarnation.map(|incarnation| Cursor {
        incarnation,
        position,
    });
    Ok(StoredCursor {
        text: row.try_get("", "cursor")?,
        cursor,
    })
}

async fn advance(tx: &Tx, consumer: &str, text: &str, at: Cursor) -> Result<(), StorageError> {
    let sql = "UPDATE feed_cursor SET cursor = $2, incarnation = $3, position = $4, update_time = $5 \
               WHERE consumer = $1";
    let values = [
        consumer.into(),
        text.into(),
        at.incarnation.into(),
        at.position.into(),
        tx.now().into(),
    ];
    tx.execute_sql(sql, values).await?;
    Ok(())
}

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Applies the events of the batch that were not applied yet, and advances the cursor to the end of the
    /// batch. `quarantine` holds the indices of events that failed in an earlier attempt. Returns the new
    /// cursor.
    pub(super) async fn apply_batch(
        &self,
        tx: &Tx,
        events: &[S::Event],
        text: &str,
        end: Cursor,
        quarantine: &BTreeMap<usize, String>,
    ) -> Result<Cursor, Failure> {
        let stored = lock(tx, self.name).await?;
        let applied = match stored.cursor {
            Some(cursor) if cursor.incarnation != end.incarnation => return Err(Failure::Superseded),
            Some(cursor) if cursor.position >= end.position => return Ok(cursor),
            Some(cursor) => cursor.position,
            None => 0,
        };
        let new_events = events
            .iter()
            .enumerate()
            .filter(|(_, event)| event.position() > applied);
        self.apply_all(tx, new_events, quarantine).await?;
        advance(tx, self.name, text, end).await?;
        Ok(end)
    }

    /// Replaces the projection with a snapshot.
    pub(super) async fn apply_snapshot(
        &self,
        tx: &Tx,
        events: &[S::Event],
        text: &str,
        end: Cursor,
        quarantine: &BTreeMap<usize, String>,
    ) -> Result<Cursor, Failure> {
        let stored = lock(tx, self.name).await?;
        if let Some(cursor) = stored
            .cursor
            .filter(|cursor| cursor.incarnation == end.incarnation && cursor.position >= end.position)
        {
            // Another replica has already advanced the cursor.
            return Ok(cursor);
        }
        quarantined::clear(tx, self.name).await?;
        let snapshot_failure = |e: HandleError| match e {
            HandleError::Storage(error) => Failure::Storage(error),
            HandleError::Failed(reason) => Failure::Storage(StorageError::Fault(reason)),
        };
        self.handler.begin_snapshot(tx).await.map_err(snapshot_failure)?;
        self.apply_all(tx, events.iter().enumerate(), quarantine).await?;
        self.handler.end_snapshot(tx).await.map_err(snapshot_failure)?;
        advance(tx, self.name, text, end).await?;
        Ok(end)
    }

    async fn apply_all<'a>(
        &self,
        tx: &Tx,
        events: impl Iterator<Item = (usize, &'a S::Event)> + Send,
        quarantine: &BTreeMap<usize, String>,
    ) -> Result<(), Failure> {
        let mut quarantined_organizations: BTreeSet<OrgId> =
            quarantined::organizations(tx, self.name).await?;
        for (index, event) in events {
            let org_id = event.org_id().parse::<OrgId>().map_err(|error| {
                // Without a valid organization, nothing can be quarantined, so the invalid event stops the
                // whole feed.
                Failure::Storage(StorageError::Fault(format!(
                    "event {}: org_id: {error}",
                    event.event_id()
                )))
            })?;
            if let Some(reason) = quarantine.get(&index)
                && quarantined_organizations.insert(org_id)
            {
                quarantined::quarantine(tx, self.name, org_id, event.position(), reason).await?;
            }
            if quarantined_organizations.contains(&org_id) {
                quarantined::queue(tx, self.name, org_id, event).await?;
                continue;
            }
            self.apply_one(tx, index, event).await?;
        }
        Ok(())
    }

    pub(super) async fn apply_one(&self, tx: &Tx, index: usize, event: &S::Event) -> Result<(), Failure> {
        // A panic of the handler affects one organization and must not end the consumer.
        let applied = AssertUnwindSafe(self.handler.apply(tx, event))
            .catch_unwind()
            .await;
        let reason = match applied {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(HandleError::Storage(error))) if error.is_transient() => {
                return Err(Failure::Storage(error));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the handler panicked".to_owned(),
        };
        Err(Failure::Event { index, reason })
    }
}
