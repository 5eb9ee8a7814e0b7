//! The loop of a consumer: connects, applies batches, and retries.
use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use parta_database::StorageError;
use sea_orm::{ConnectionTrait, Statement};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    Consumer, Handler,
    apply::{self, Failure, StoredCursor},
};
use crate::{Cursor, Delivery, FeedEvent, FeedItem, SnapshotItem, Source};

/// Largest number of events per transaction.
const BATCH: usize = 256;
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A producer sends a checkpoint every second. A stream that is silent for this long is considered dead.
const MAX_SILENCE: Duration = Duration::from_secs(15);
/// The number of consecutive failures that are logged at DEBUG only, because services start and stop.
const QUIET_FAILURES: u32 = 5;
/// The number of consecutive streams with a gap in the positions after which the projection is rebuilt.
const MAX_GAPS: u32 = 3;

/// The reason why a stream ended.
enum StreamEnd {
    Expired,
    Gap { after: i64, received: i64 },
    Status(Status),
    Storage(StorageError),
    Silent,
    Closed,
}

impl From<StorageError> for StreamEnd {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<Status> for StreamEnd {
    fn from(status: Status) -> Self {
        if status.code() == Code::OutOfRange {
            Self::Expired
        } else {
            Self::Status(status)
        }
    }
}

impl std::fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired => f.write_str("the cursor has expired"),
            Self::Gap { after, received } => {
                write!(f, "position {received} follows {after}: events are missing")
            }
            Self::Status(status) => write!(f, "{:?}: {}", status.code(), status.message()),
            Self::Storage(error) => error.fmt(f),
            Self::Silent => f.write_str("the stream is silent"),
            Self::Closed => f.write_str("the stream ended"),
        }
    }
}

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Follows the feed until canceled. A batch in progress is committed or rolled back.
    pub async fn run(&self, cancel: CancellationToken) {
        let (mut failures, mut gaps, mut rebuild) = (0_u32, 0_u32, false);
        while !cancel.is_cancelled() {
            let before = self.progress.borrow().cursor;
            let session = async {
                if rebuild {
                    self.rebuild().await?;
                }
                Err::<(), StreamEnd>(self.follow().await)
            };
            let end = tokio::select! {
                () = cancel.cancelled() => return,
                Err(end) = session => end,
            };
            if self.progress.borrow().cursor != before {
                failures = 0;
            }
            gaps = if matches!(end, StreamEnd::Gap { .. }) {
                gaps + 1
            } else {
                0
            };
            rebuild = matches!(end, StreamEnd::Expired) || gaps >= MAX_GAPS;
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
        let mut random = [0; 2];
        self.db.env().ids.fill(&mut random);
        let max = Duration::from_millis(50 << failures.min(10)).min(MAX_BACKOFF);
        max / 2 + max.mul_f64(f64::from(u16::from_be_bytes(random)) / 131_072.0)
    }

    async fn load_cursor(&self) -> Result<StoredCursor, StorageError> {
        let sql = "SELECT cursor, incarnation, position FROM feed_cursor WHERE consumer = $1";
        let statement = Statement::from_sql_and_values(self.db.backend(), sql, [self.name.into()]);
        apply::decode(self.db.conn().query_one_raw(statement).await?)
    }

    fn record_progress(&self, cursor: Option<Cursor>, checkpoint: bool) {
        self.progress.send_modify(|progress| {
            progress.cursor = cursor.or(progress.cursor);
            if checkpoint {
                progress.checkpoint = Some(Instant::now());
            }
        });
    }

    /// Follows the feed from the stored cursor until the stream ends.
    async fn follow(&self) -> StreamEnd {
        match self.try_follow().await {
            Ok(()) => StreamEnd::Closed,
            Err(end) => end,
        }
    }

    async fn try_follow(&self) -> Result<(), StreamEnd> {
        let stored = self.load_cursor().await?;
        self.record_progress(stored.cursor, false);
        let stream = tokio::time::timeout(MAX_SILENCE, self.source.watch(&stored.text, self.org_id)).await;
        let stream = stream.map_err(|_| StreamEnd::Silent)??;
        let mut batches = stream.ready_chunks(BATCH);
        let mut last = stored.cursor.map_or(0, |cursor| cursor.position);
        loop {
            let batch = tokio::time::timeout(MAX_SILENCE, batches.next())
                .await
                .map_err(|_| StreamEnd::Silent)?;
            let Some(batch) = batch else { return Ok(()) };
            // Events received before the stream failed are applied first.
            let mut failed = None;
            let mut deliveries = Vec::with_capacity(batch.len());
            for delivery in batch {
                match delivery {
                    Ok(delivery) => deliveries.push(delivery),
                    Err(status) => {
                        failed = Some(StreamEnd::from(status));
                        break;
                    }
                }
            }
            self.apply_deliveries(deliveries, &mut last).await?;
            if let Some(end) = failed {
                return Err(end);
            }
        }
    }

    async fn apply_deliveries(
        &self,
        deliveries: Vec<Delivery<S::Event>>,
        last: &mut i64,
    ) -> Result<(), StreamEnd> {
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
                let received = event.position();
                // A filtered feed has gaps by design.
                if self.org_id.is_none() && received != *last + 1 {
                    return Err(StreamEnd::Gap {
                        after: *last,
                        received,
                    });
                }
                *last = received;
                events.push(event);
            }
        }
        *last = (*last).max(end.position);
        let current = self.progress.borrow().cursor;
        if events.is_empty()
            && current.is_some_and(|k| k.incarnation == end.incarnation && k.position >= end.position)
        {
            self.record_progress(None, checkpoint);
            return Ok(());
        }
        let at = self.commit(&events, &text, end, false).await?;
        self.record_progress(Some(at), checkpoint);
        Ok(())
    }

    async fn rebuild(&self) -> Result<(), StreamEnd> {
        let stream = tokio::time::timeout(MAX_SILENCE, self.source.snapshot(self.org_id)).await;
        let mut stream = stream.map_err(|_| StreamEnd::Silent)??;
        let mut events = Vec::new();
        let text = loop {
            let item = tokio::time::timeout(MAX_SILENCE, stream.next())
                .await
                .map_err(|_| StreamEnd::Silent)?;
            match item.ok_or(StreamEnd::Closed)?? {
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
        self.record_progress(Some(at), false);
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
    ) -> Result<Cursor, StreamEnd> {
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
                Err(Failure::Storage(error)) => return Err(StreamEnd::Storage(error)),
                Err(Failure::Superseded) => return Err(StreamEnd::Closed),
            };
        }
    }
}
