//! Follows the heads of the source.
use std::{collections::HashMap, time::Duration};

use futures::StreamExt;
use parta_database::{LogHead, StorageError};
use parta_ids::{EventId, OrgId, TypedId};
use parta_proto::{elapsed, feed::v1::Heads};
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

use super::{Consumer, Handler, QUIET_FAILURES, apply};
use crate::{Source, freshness::MAX_AGE};

/// The source sends a heartbeat every second. A stream that is silent for this long is considered dead.
const MAX_SILENCE: Duration = Duration::from_secs(15);

/// The reason why the stream of heads ended.
enum StreamEnd {
    Status(Status),
    Storage(StorageError),
    Malformed(&'static str),
    Silent,
    Closed,
}

impl std::fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{:?}: {}", status.code(), status.message()),
            Self::Storage(error) => error.fmt(f),
            Self::Malformed(field) => write!(f, "the field {field} of a head is malformed"),
            Self::Silent => f.write_str("the stream is silent"),
            Self::Closed => f.write_str("the stream ended"),
        }
    }
}

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Follows the heads for ever. The stream is opened again after every end.
    pub(super) async fn follow_heads(&self) {
        let mut failures = 0_u32;
        loop {
            let mut has_heartbeat = false;
            let Err(end) = self.follow_stream(&mut has_heartbeat).await;
            if has_heartbeat {
                failures = 0;
            }
            if failures >= QUIET_FAILURES {
                tracing::warn!(consumer = self.name, cause = %end, failures, "feed interrupted");
            } else {
                tracing::debug!(consumer = self.name, cause = %end, "feed interrupted");
            }
            let wait = self.backoff(failures);
            failures = failures.saturating_add(1);
            tokio::time::sleep(wait).await;
        }
    }

    async fn follow_stream(&self, has_heartbeat: &mut bool) -> Result<std::convert::Infallible, StreamEnd> {
        let opened = tokio::time::timeout(MAX_SILENCE, self.source.watch_heads()).await;
        let mut stream = opened
            .map_err(|_| StreamEnd::Silent)?
            .map_err(StreamEnd::Status)?;
        // Read after the stream has begun: a cursor that moves meanwhile is read again by the worker.
        let (cursors, requested) = apply::list_cursors(&self.db, self.name)
            .await
            .map_err(StreamEnd::Storage)?;
        self.progress.load(cursors);
        for org_id in requested {
            self.progress.request(org_id);
        }
        let mut all = Some(HashMap::new());
        loop {
            let next = tokio::time::timeout(MAX_SILENCE, stream.next()).await;
            let response = next.map_err(|_| StreamEnd::Silent)?.ok_or(StreamEnd::Closed)?;
            let response = response.map_err(StreamEnd::Status)?;
            let is_heartbeat = response.complete;
            if is_heartbeat {
                self.progress.overdue(decode_overdue(&response)?);
            }
            let heads = decode(response)?;
            match &mut all {
                Some(first) => {
                    first.extend(heads);
                    if is_heartbeat {
                        self.progress.announced_all(all.take().unwrap_or_default());
                    }
                }
                None => self.progress.announced(heads, is_heartbeat),
            }
            *has_heartbeat |= is_heartbeat;
        }
    }
}

fn decode_overdue(response: &Heads) -> Result<HashMap<OrgId, Instant>, StreamEnd> {
    let now = Instant::now();
    let overdue = response.overdue_endings.iter().map(|ending| {
        let org_id: OrgId = ending
            .org_id
            .parse()
            .map_err(|_| StreamEnd::Malformed("org_id"))?;
        let lateness = ending
            .lateness
            .as_ref()
            .and_then(elapsed)
            .ok_or(StreamEnd::Malformed("lateness"))?;
        // The clock of the process does not reach back to a time before the start of the machine.
        let due = now.checked_sub(lateness).or_else(|| now.checked_sub(MAX_AGE * 2));
        Ok((org_id, due.unwrap_or(now)))
    });
    overdue.collect()
}

fn decode(response: Heads) -> Result<Vec<(OrgId, LogHead)>, StreamEnd> {
    let epoch: Uuid = response
        .epoch
        .parse()
        .map_err(|_| StreamEnd::Malformed("epoch"))?;
    let heads = response.heads.into_iter().map(|head| {
        let org_id: OrgId = head.org_id.parse().map_err(|_| StreamEnd::Malformed("org_id"))?;
        let event_id = if head.event_id.is_empty() {
            Uuid::nil()
        } else {
            let id: EventId = head
                .event_id
                .parse()
                .map_err(|_| StreamEnd::Malformed("event_id"))?;
            id.uuid()
        };
        let head = LogHead {
            epoch,
            position: head.position,
            event_id,
        };
        Ok((org_id, head))
    });
    heads.collect()
}
