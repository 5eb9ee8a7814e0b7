use std::{sync::Arc, time::Duration};

use futures::{Stream, stream};
use parta_database::{Db, LogHead};
use parta_ids::{EventId, OrgId, TypedId};
use parta_proto::{
    duration,
    feed::v1::{self as feed, Head, OverdueEnding},
};
use parta_status::RpcError;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    heads::{Heads, READ_INTERVAL},
    log,
};

/// Largest number of heads of one message.
const PAGE: usize = 1_000;

/// Follows the heads of a database. It stores nothing: a reader that lags gets the latest head of each
/// organization.
struct Follower {
    db: Db,
    cancel: CancellationToken,
    heads: Arc<Heads>,
    changed: watch::Receiver<u64>,
    /// The version of the heads up to which they were sent.
    version: u64,
    /// The epoch of the stream.
    epoch: Option<Uuid>,
    /// The time of the next reading.
    due: Instant,
    /// Whether the heads that a reading has found were not all sent yet.
    heartbeat_due: bool,
    /// Whether the first heartbeat was sent.
    has_begun: bool,
}

/// Streams all heads of the database, then each that changes, and a heartbeat after each reading.
pub(super) fn watch_heads(
    db: Db,
    cancel: CancellationToken,
) -> impl Stream<Item = Result<feed::Heads, RpcError>> + Send + 'static {
    let heads = db.shared::<Heads>();
    let follower = Follower {
        changed: heads.subscribe(),
        db,
        cancel,
        heads,
        version: 0,
        epoch: None,
        due: Instant::now(),
        heartbeat_due: false,
        has_begun: false,
    };
    stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(response) => Some((Ok(response), Some(follower))),
            Err(refusal) => Some((Err(refusal), None)),
        }
    })
}

impl Follower {
    async fn next(&mut self) -> Result<feed::Heads, RpcError> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(parta_status::not_serving());
            }
            if self.due <= Instant::now() {
                self.heads.refresh(&self.db).await?;
                self.due = Instant::now() + READ_INTERVAL;
                self.heartbeat_due = true;
            }
            // Marked before the heads are selected, so that a later change stays unseen.
            self.changed.mark_unchanged();
            let epoch = self.heads.epoch();
            if self.epoch.is_some() && self.epoch != epoch {
                // The reader begins again with all heads of the new epoch.
                return Err(log::expired());
            }
            self.epoch = epoch;
            // Nothing is sent before the first reading: it names the epoch.
            if let Some(epoch) = epoch.filter(|_| self.heartbeat_due || self.has_begun) {
                let changes = self.heads.changes_after(self.version, PAGE);
                self.version = changes.version;
                let complete = changes.heads.len() < PAGE && std::mem::take(&mut self.heartbeat_due);
                if complete || !changes.heads.is_empty() {
                    self.has_begun |= complete;
                    return Ok(feed::Heads {
                        epoch: epoch.to_string(),
                        heads: changes.heads.iter().map(encode).collect(),
                        complete,
                        overdue_endings: if complete { self.overdue() } else { Vec::new() },
                    });
                }
            }
            tokio::select! {
                () = self.cancel.cancelled() => {}
                _ = self.changed.changed() => {}
                () = tokio::time::sleep_until(self.due) => {}
            }
        }
    }
}

impl Follower {
    fn overdue(&self) -> Vec<OverdueEnding> {
        let encode = |(org_id, lateness): (OrgId, Duration)| OverdueEnding {
            org_id: org_id.to_string(),
            lateness: Some(duration(lateness)),
        };
        self.heads.overdue().into_iter().map(encode).collect()
    }
}

fn encode((org_id, head): &(OrgId, LogHead)) -> Head {
    Head {
        org_id: org_id.to_string(),
        position: head.position,
        event_id: if head.event_id.is_nil() {
            String::new()
        } else {
            EventId::from_uuid(head.event_id).to_string()
        },
    }
}
