//! Publishes entries to the other replicas over the bus and receives theirs. A counter, published soon after
//! the last entry and then each second, shows the loss of the last entries.
use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::PoisonError,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use parta_ids::{OrgId, TypedId as _, Uuid};
use prost::Message;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Live,
    compare::COMPARISON_PAUSE,
    scope::Scope,
    wire::{Frame, Item},
};

const SUBJECT: &str = "parta.chat.entries";
/// At most this many entries in one frame. With the longest texts a frame stays well below the size limit of
/// the bus.
const FRAME_MAX_ENTRIES: usize = 32;

/// A frame with only the counter follows the last entry after this time, unless another entry follows sooner.
const COUNTER_AFTER_ENTRIES: Duration = Duration::from_millis(50);
/// A frame with only the counter follows another one after this time.
const COUNTER_INTERVAL: Duration = Duration::from_secs(1);

/// A replica without a frame for this long is considered dead. Without a frame of its own for this long, a
/// replica considers the bus dead.
pub(crate) const FRAME_TIMEOUT: Duration = Duration::from_secs(4);

/// The last frame of another replica.
struct LastFrame {
    count: u64,
    received: Instant,
}

impl Live {
    /// Publishes the entries of this replica on the bus until canceled.
    pub(crate) async fn send(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut counter_due = Instant::now();
        loop {
            let is_due = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = self.0.outgoing_ready.notified() => false,
                () = tokio::time::sleep_until(counter_due) => true,
            };
            let mut published = false;
            loop {
                let frame = self.next_frame();
                if frame.items.is_empty() && frame.compare.is_empty() {
                    break;
                }
                self.publish_frame(frame).await;
                published = true;
            }
            if published {
                counter_due = Instant::now() + COUNTER_AFTER_ENTRIES;
            } else if is_due {
                self.publish_frame(self.next_frame()).await;
                counter_due = Instant::now() + COUNTER_INTERVAL;
            }
        }
    }

    /// Removes the next waiting entries and organizations. The frame has the number of entries published up
    /// to the last of them.
    fn next_frame(&self) -> Frame {
        let mut outgoing = self.0.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let count = outgoing.entries.len().min(FRAME_MAX_ENTRIES);
        let items = outgoing
            .entries
            .drain(..count)
            .map(|live| Item::from(live.as_ref()))
            .collect();
        let compare = mem::take(&mut outgoing.compare).into_iter();
        Frame {
            replica: self.0.replica.as_bytes().to_vec(),
            count: outgoing.published - outgoing.entries.len() as u64,
            items,
            compare: compare.map(|org| org.uuid().as_bytes().to_vec()).collect(),
        }
    }

    async fn publish_frame(&self, frame: Frame) {
        if let Err(error) = self
            .0
            .bus
            .publish(SUBJECT, Bytes::from(frame.encode_to_vec()))
            .await
        {
            // The counter of the next frame shows the other replicas the loss.
            tracing::debug!(%error, "failed to publish entries on the bus");
        }
    }

    /// Delivers the entries of other replicas until canceled.
    pub(crate) async fn receive(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            let mut frames = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                frames = self.0.bus.subscribe(SUBJECT) => frames?,
            };
            // Frames before the subscription are lost.
            self.request_comparison(Scope::All);
            let mut replicas: HashMap<Vec<u8>, LastFrame> = HashMap::new();
            let mut own_frame = Instant::now();
            let mut tick = tokio::time::interval(self.0.frame_timeout.min(COMPARISON_PAUSE));
            loop {
                let bytes = tokio::select! {
                    () = cancel.cancelled() => return Ok(()),
                    bytes = frames.next() => bytes,
                    _ = tick.tick() => {
                        // A silent replica may have died after a commit and before publishing its entries.
                        let before = replicas.len();
                        replicas.retain(|_, frame| frame.received.elapsed() < self.0.frame_timeout);
                        // While the bus carries nothing, new entries are found in the database only.
                        if replicas.len() < before || own_frame.elapsed() >= self.0.frame_timeout {
                            self.request_comparison(Scope::All);
                        }
                        continue;
                    }
                };
                let Some(bytes) = bytes else { break };
                match Frame::decode(bytes) {
                    Ok(frame) if frame.replica == self.0.replica.as_bytes() => own_frame = Instant::now(),
                    Ok(frame) => self.receive_frame(frame, &mut replicas),
                    Err(error) => {
                        tracing::warn!(%error, "received an unreadable frame from the bus");
                        self.request_comparison(Scope::All);
                    }
                }
            }
        }
    }

    fn receive_frame(&self, frame: Frame, replicas: &mut HashMap<Vec<u8>, LastFrame>) {
        let before = frame.count - (frame.items.len() as u64).min(frame.count);
        let orgs = frame
            .compare
            .iter()
            .filter_map(|bytes| Uuid::from_slice(bytes).ok());
        let orgs: BTreeSet<_> = orgs.map(OrgId::from_uuid).collect();
        if !orgs.is_empty() {
            self.request_comparison(Scope::Organizations(orgs));
        }
        let entries: Vec<_> = frame.items.into_iter().filter_map(Item::into_live).collect();
        self.deliver(&entries);
        // The count is not continuous if frames were lost, and at the first frame of a replica.
        let last = LastFrame {
            count: frame.count,
            received: Instant::now(),
        };
        if replicas.insert(frame.replica, last).map_or(0, |last| last.count) != before {
            self.request_comparison(Scope::All);
        }
    }
}
