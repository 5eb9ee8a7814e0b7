use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};
use parta_database::Db;
use parta_ids::{EventId, TypedId};
use parta_proto::{WatchItem, status::v1::ErrorReason, timestamp};
use parta_status::RpcError;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::withheld::Withheld;
use crate::{
    Cursor, FeedEvent,
    heads::Heads,
    log::{self, PAGE},
};

/// Between two checkpoints of a stream on which nothing happens.
const CHECKPOINT: Duration = Duration::from_secs(15);

/// A reader that follows the log of an organization. It wakes when the head of that log moves. While the log
/// is quiet, it runs no query of its own; one reader of the replica reads the heads for all.
pub(super) struct Watch<E: FeedEvent> {
    db: Db,
    cancel: CancellationToken,
    /// The cursor after the events that were read.
    read: Cursor,
    buffer: VecDeque<E>,
    changed: watch::Receiver<()>,
    checkpoint: Option<Instant>,
    expire_time: Option<DateTime<Utc>>,
    withheld: Withheld<E::Payload>,
}

impl<E: FeedEvent> Watch<E> {
    /// Returns a reader whose first events were read.
    pub(super) fn new(
        db: Db,
        cancel: CancellationToken,
        events: Vec<E>,
        read: Cursor,
        expire_time: Option<DateTime<Utc>>,
        withheld: Withheld<E::Payload>,
    ) -> Self {
        let changed = db.shared::<Heads>().follow(read.org_id);
        Self {
            db,
            cancel,
            read,
            buffer: events.into(),
            changed,
            checkpoint: None,
            expire_time,
            withheld,
        }
    }

    pub(super) async fn next(&mut self) -> Result<(String, WatchItem<E>), RpcError> {
        let heads = self.db.shared::<Heads>();
        loop {
            if self.expire_time.is_some_and(|time| time <= self.db.env().now()) {
                return Err(RpcError::new(
                    ErrorReason::CredentialExpired,
                    "The credential has expired. Refresh it and call again.",
                ));
            }
            if let Some(event) = self.buffer.pop_front() {
                return self.deliver(event);
            }
            if self.cancel.is_cancelled() {
                return Err(parta_status::not_serving());
            }
            // Marked before the head is read, so that a later change stays unseen.
            self.changed.mark_unchanged();
            let due = self
                .checkpoint
                .map_or_else(Instant::now, |last| last + CHECKPOINT);
            let is_due = due <= Instant::now();
            let observe_time = self.db.env().now();
            if is_due {
                heads.refresh(&self.db).await?;
            }
            let head = heads.of(self.read.org_id);
            if head.is_some_and(|head| Cursor::at(self.read.org_id, head) != self.read) {
                let (events, read) =
                    log::read_page(&self.db, self.read.org_id, Some(self.read), PAGE).await?;
                self.read = read;
                if !events.is_empty() {
                    self.buffer = events.into();
                    continue;
                }
            }
            if is_due {
                self.checkpoint = Some(Instant::now());
                return Ok((
                    self.read.encode(self.db.secrets()),
                    WatchItem::Checkpoint(Some(timestamp(observe_time))),
                ));
            }
            let expired = async {
                match self.expire_time {
                    Some(time) => {
                        let left = time - self.db.env().now();
                        tokio::time::sleep(left.to_std().unwrap_or_default()).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.cancel.cancelled() => {}
                () = expired => {}
                _ = self.changed.changed() => {}
                never = heads.keep_reading(&self.db) => match never {},
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    fn deliver(&self, mut event: E) -> Result<(String, WatchItem<E>), RpcError> {
        self.withheld.apply(&mut event);
        let event_id: EventId = event.event_id().parse().map_err(RpcError::internal)?;
        let cursor = Cursor {
            position: event.position(),
            event_id: event_id.uuid(),
            ..self.read
        };
        Ok((cursor.encode(self.db.secrets()), WatchItem::Event(event)))
    }
}
