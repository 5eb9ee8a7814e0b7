use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};
use parta_database::{Db, LogHead};
use parta_ids::OrgId;
use parta_proto::{WatchItem, status::v1::ErrorReason, timestamp};
use parta_status::RpcError;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{Cursor, FeedEvent, log};

const BATCH: u64 = 256;
const CHECKPOINT: Duration = Duration::from_secs(1);

/// A reader that follows the log. Hints wake it; it also polls every second, because hints can be lost.
pub(super) struct Watch<E> {
    db: Db,
    cancel: CancellationToken,
    at: LogHead,
    org_id: Option<OrgId>,
    buffer: VecDeque<E>,
    hints: watch::Receiver<i64>,
    checkpoint: Option<Instant>,
    expire_time: Option<DateTime<Utc>>,
}

impl<E: FeedEvent> Watch<E> {
    pub(super) fn new(
        db: Db,
        cancel: CancellationToken,
        at: LogHead,
        org_id: Option<OrgId>,
        expire_time: Option<DateTime<Utc>>,
    ) -> Self {
        let hints = db.event_hints();
        Self {
            db,
            cancel,
            at,
            org_id,
            buffer: VecDeque::new(),
            hints,
            checkpoint: None,
            expire_time,
        }
    }

    fn cursor(&self, position: i64) -> String {
        Cursor {
            incarnation: self.at.incarnation,
            position,
        }
        .encode(self.db.secrets())
    }

    pub(super) async fn next(&mut self) -> Result<(String, WatchItem<E>), RpcError> {
        loop {
            if self.expire_time.is_some_and(|end| end <= self.db.env().now()) {
                return Err(RpcError::new(
                    ErrorReason::CredentialExpired,
                    "The credential has expired. Refresh it and call again.",
                ));
            }
            if let Some(event) = self.buffer.pop_front() {
                return Ok((self.cursor(event.position()), WatchItem::Event(event)));
            }
            if self.cancel.is_cancelled() {
                return Err(parta_status::not_serving());
            }
            // Marked before the read, so that a commit after the read leaves its hint unseen.
            self.hints.mark_unchanged();
            let observe_time = self.db.env().now();
            if self.fill().await? {
                continue;
            }
            let due = self
                .checkpoint
                .map_or_else(Instant::now, |last| last + CHECKPOINT);
            if due <= Instant::now() {
                self.checkpoint = Some(Instant::now());
                return Ok((
                    self.cursor(self.at.position),
                    WatchItem::Checkpoint(Some(timestamp(observe_time))),
                ));
            }
            tokio::select! {
                () = self.cancel.cancelled() => {}
                _ = self.hints.changed() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    /// Reads the next events. Returns whether there are events to deliver or more to scan.
    async fn fill(&mut self) -> Result<bool, RpcError> {
        // The head is read first. Every event up to it is visible, because a transaction commits before the
        // next one can advance the head.
        let head = self.db.head().await?;
        if head.incarnation != self.at.incarnation {
            return Err(expired());
        }
        if head.position <= self.at.position {
            return Ok(false);
        }
        let after = self.at.position;
        let events = log::list_after::<E>(self.db.conn(), after, head.position, self.org_id, BATCH).await?;
        let full = events.len() as u64 == BATCH;
        if self.org_id.is_none() && events.first().is_none_or(|event| event.position() != after + 1) {
            // The events were purged before they were read.
            return Err(expired());
        }
        self.at.position = match events.last() {
            Some(last) if full => last.position(),
            _ => head.position,
        };
        let found = !events.is_empty();
        self.buffer = events.into();
        Ok(found)
    }
}

/// Returns the refusal of a cursor whose events were purged or belong to another incarnation.
pub(super) fn expired() -> RpcError {
    RpcError::new(
        ErrorReason::CursorExpired,
        "The cursor has expired. Read a snapshot and resume from its cursor.",
    )
}
