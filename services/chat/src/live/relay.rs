//! Carries entries between replicas. A counter, told each second, shows what was lost at the end.
use std::{collections::HashMap, sync::PoisonError, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use prost::Message;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Live,
    wire::{Frame, Item},
};

const SUBJECT: &str = "parta.chat.entries";
/// Most entries of one frame: with the longest texts it stays well below the bus's limit of a message.
const FRAME: usize = 32;

/// So long without a counter and a replica is taken for dead; so long without the own one, and the bus is.
const SILENCE: Duration = Duration::from_secs(4);

/// What is known of another replica.
struct Known {
    count: u64,
    heard: Instant,
}

impl Live {
    /// Sends what this replica commits, until `cancel`.
    pub(crate) async fn send(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let ticked = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = self.0.waiting.notified() => false,
                _ = tick.tick() => true,
            };
            loop {
                let (items, count) = self.next_frame();
                if items.is_empty() {
                    break;
                }
                self.tell(items, count).await;
            }
            if ticked {
                let (items, count) = self.next_frame();
                self.tell(items, count).await;
            }
        }
    }

    /// The next entries that wait, and how many had been published up to the last of them.
    fn next_frame(&self) -> (Vec<Item>, u64) {
        let mut outgoing = self.0.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let many = outgoing.entries.len().min(FRAME);
        let items = outgoing
            .entries
            .drain(..many)
            .map(|live| Item::from(live.as_ref()))
            .collect();
        (items, outgoing.published - outgoing.entries.len() as u64)
    }

    async fn tell(&self, items: Vec<Item>, count: u64) {
        let frame = Frame {
            replica: self.0.replica.as_bytes().to_vec(),
            count,
            items,
        };
        if let Err(error) = self
            .0
            .bus
            .publish(SUBJECT, Bytes::from(frame.encode_to_vec()))
            .await
        {
            // The counter of the next frame that arrives tells the others that one is missing.
            tracing::debug!(%error, "entries did not go out over the bus");
        }
    }

    /// Hands on what other replicas commit, until `cancel`.
    pub(crate) async fn receive(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            let mut frames = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                frames = self.0.bus.subscribe(SUBJECT) => frames?,
            };
            // What went by before is not known.
            self.compare_heads();
            let mut known: HashMap<Vec<u8>, Known> = HashMap::new();
            let mut own = Instant::now();
            let mut tick = tokio::time::interval(SILENCE);
            loop {
                let bytes = tokio::select! {
                    () = cancel.cancelled() => return Ok(()),
                    bytes = frames.next() => bytes,
                    _ = tick.tick() => {
                        // Whoever fell silent may have died between a commit and its telling.
                        let before = known.len();
                        known.retain(|_, replica| replica.heard.elapsed() < SILENCE);
                        // While nothing is carried, not even to oneself, the database is the only one to ask.
                        if known.len() < before || own.elapsed() >= SILENCE {
                            self.compare_heads();
                        }
                        continue;
                    }
                };
                let Some(bytes) = bytes else { break };
                match Frame::decode(bytes) {
                    Ok(frame) if frame.replica == self.0.replica.as_bytes() => own = Instant::now(),
                    Ok(frame) => self.take(frame, &mut known),
                    Err(error) => {
                        tracing::warn!(%error, "the bus carried something unreadable");
                        self.compare_heads();
                    }
                }
            }
        }
    }

    fn take(&self, frame: Frame, known: &mut HashMap<Vec<u8>, Known>) {
        let before = frame.count - (frame.items.len() as u64).min(frame.count);
        let entries: Vec<_> = frame.items.into_iter().filter_map(Item::into_live).collect();
        self.deliver(&entries);
        // A replica is new to this one at its first frame; then streams may have missed what it sent before.
        let replica = Known {
            count: frame.count,
            heard: Instant::now(),
        };
        if known
            .insert(frame.replica, replica)
            .map_or(0, |replica| replica.count)
            != before
        {
            self.compare_heads();
        }
    }
}
