//! The loop around the transactions: connect, follow, retry.
use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use parta_database::StorageError;
use sea_orm::{ConnectionTrait, Statement};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    Consumer, Handler,
    apply::{self, Failure, Place},
};
use crate::{Cursor, Delivery, FeedEvent, FeedItem, SnapshotItem, Source};

const BATCH: usize = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A producer sends a checkpoint every second. A stream that is silent for this long is considered dead.
const SILENCE: Duration = Duration::from_secs(15);
/// The number of consecutive failures that are logged at DEBUG only, because services start and stop.
const QUIET_FAILURES: u32 = 5;
/// The number of streams after which a gap in the positions is considered permanent.
const HOLES: u32 = 3;

enum End {
    Expired,
    Hole { after: i64, found: i64 },
    Status(Status),
    Storage(StorageError),
    Silent,
    Closed,
}

impl From<StorageError> for End {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        if status.code() == Code::OutOfRange {
            Self::Expired
        } else {
            Self::Status(status)
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired => f.write_str("the cursor has expired"),
            Self::Hole { after, found } => write!(f, "position {found} follows {after}: events are missing"),
            Self::Status(status) => write!(f, "{:?}: {}", status.code(), status.message()),
            Self::Storage(error) => error.fmt(f),
            Self::Silent => f.write_str("the stream is silent"),
            Self::Closed => f.write_str("the stream ended"),
        }
    }
}

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Follows the feed until cancelled. A batch in progress is committed or rolled back.
    pub async fn run(&self, cancel: CancellationToken) {
        let (mut failures, mut holes, mut rebuild) = (0_u32, 0_u32, false);
        while !cancel.is_cancelled() {
            let before = self.progress.borrow().cursor;
            let session = async {
                if rebuild {
                    self.rebuild().await?;
                }
                Err::<(), End>(self.follow().await)
            };
            let end = tokio::select! {
                () = cancel.cancelled() => return,
                Err(end) = session => end,
            };
            if self.progress.borrow().cursor != before {
                failures = 0;
            }
            holes = if matches!(end, End::Hole { .. }) {
                holes + 1
            } else {
                0
            };
            rebuild = matches!(end, End::Expired) || holes >= HOLES;
            if rebuild {
                tracing::warn!(consumer = self.name, cause = %end, "rebuilding the projection from a snapshot");
            } else if failures >= QUIET_FAILURES {
                tracing::warn!(consumer = self.name, cause = %end, failures, "feed interrupted");
            } else {
                tracing::debug!(consumer = self.name, cause = %end, "feed interrupted");
            }
            if rebuild && failures == 0 {
                failures = 1;
                continue;
            }
            let wait = self.backoff(failures);
            failures = failures.saturating_add(1);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn backoff(&self, failures: u32) -> Duration {
        let mut chance = [0; 2];
        self.db.env().ids.fill(&mut chance);
        let most = Duration::from_millis(50 << failures.min(10)).min(LONGEST_WAIT);
        most / 2 + most.mul_f64(f64::from(u16::from_be_bytes(chance)) / 131_072.0)
    }

    async fn place(&self) -> Result<Place, StorageError> {
        let sql = "SELECT cursor, incarnation, position FROM feed_cursor WHERE consumer = $1";
        let statement = Statement::from_sql_and_values(self.db.backend(), sql, [self.name.into()]);
        apply::place(self.db.conn().query_one_raw(statement).await?)
    }

    fn reached(&self, cursor: Option<Cursor>, checkpoint: bool) {
        self.progress.send_modify(|progress| {
            progress.cursor = cursor.or(progress.cursor);
            if checkpoint {
                progress.checkpoint = Some(Instant::now());
            }
        });
    }

    /// Follows the feed from the stored cursor until the stream ends.
    async fn follow(&self) -> End {
        match self.try_follow().await {
            Ok(()) => End::Closed,
            Err(end) => end,
        }
    }

    async fn try_follow(&self) -> Result<(), End> {
        let place = self.place().await?;
        self.reached(place.at, false);
        let stream = tokio::time::timeout(SILENCE, self.source.watch(&place.cursor, self.org_id)).await;
        let stream = stream.map_err(|_| End::Silent)??;
        let mut batches = stream.ready_chunks(BATCH);
        let mut last = place.at.map_or(0, |at| at.position);
        loop {
            let batch = tokio::time::timeout(SILENCE, batches.next())
                .await
                .map_err(|_| End::Silent)?;
            let Some(batch) = batch else { return Ok(()) };
            // Events received before the stream failed are applied first.
            let mut failed = None;
            let mut deliveries = Vec::with_capacity(batch.len());
            for delivery in batch {
                match delivery {
                    Ok(delivery) => deliveries.push(delivery),
                    Err(status) => {
                        failed = Some(End::from(status));
                        break;
                    }
                }
            }
            self.take(deliveries, &mut last).await?;
            if let Some(end) = failed {
                return Err(end);
            }
        }
    }

    async fn take(&self, deliveries: Vec<Delivery<S::Event>>, last: &mut i64) -> Result<(), End> {
        let Some(text) = deliveries.last().map(|delivery| delivery.cursor.clone()) else {
            return Ok(());
        };
        let Some(end) = Cursor::peek(&text) else {
            return Err(Status::from(parta_status::RpcError::internal(
                "the feed returned an unknown cursor",
            ))
            .into());
        };
        let checkpoint = deliveries
            .iter()
            .any(|delivery| matches!(delivery.item, FeedItem::Checkpoint));
        let mut events = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            if let FeedItem::Event(event) = delivery.item {
                let found = event.position();
                // A filtered feed has gaps by design.
                if self.org_id.is_none() && found != *last + 1 {
                    return Err(End::Hole { after: *last, found });
                }
                *last = found;
                events.push(event);
            }
        }
        *last = (*last).max(end.position);
        let known = self.progress.borrow().cursor;
        if events.is_empty()
            && known.is_some_and(|k| k.incarnation == end.incarnation && k.position >= end.position)
        {
            self.reached(None, checkpoint);
            return Ok(());
        }
        let at = self.commit(&events, &text, end, false).await?;
        self.reached(Some(at), checkpoint);
        Ok(())
    }

    async fn rebuild(&self) -> Result<(), End> {
        let stream = tokio::time::timeout(SILENCE, self.source.snapshot(self.org_id)).await;
        let mut stream = stream.map_err(|_| End::Silent)??;
        let mut events = Vec::new();
        let text = loop {
            let item = tokio::time::timeout(SILENCE, stream.next())
                .await
                .map_err(|_| End::Silent)?;
            match item.ok_or(End::Closed)?? {
                SnapshotItem::Event(event) => events.push(event),
                SnapshotItem::End { cursor } => break cursor,
            }
        };
        let Some(end) = Cursor::peek(&text) else {
            return Err(Status::from(parta_status::RpcError::internal(
                "the snapshot returned an unknown cursor",
            ))
            .into());
        };
        let at = self.commit(&events, &text, end, true).await?;
        tracing::info!(
            consumer = self.name,
            events = events.len(),
            position = at.position,
            "projection rebuilt"
        );
        self.reached(Some(at), false);
        Ok(())
    }

    /// Applies a batch in one transaction. The transaction is repeated for each event that fails in it, with
    /// one more organization quarantined.
    async fn commit(
        &self,
        events: &[S::Event],
        text: &str,
        end: Cursor,
        snapshot: bool,
    ) -> Result<Cursor, End> {
        let mut quarantine = BTreeMap::new();
        loop {
            let quarantined = &quarantine;
            let result = self
                .db
                .write(|tx| async move {
                    if snapshot {
                        self.apply_snapshot(&tx, events, text, end, quarantined).await
                    } else {
                        self.apply_batch(&tx, events, text, end, quarantined).await
                    }
                })
                .await;
            match result {
                Ok(at) => return Ok(at),
                Err(Failure::Event { index, reason }) => quarantine.insert(index, reason),
                Err(Failure::Storage(error)) => return Err(End::Storage(error)),
                Err(Failure::Superseded) => return Err(End::Closed),
            };
        }
    }
}
