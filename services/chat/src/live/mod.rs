//! Live delivery: publishes committed entries to every open stream of the participants, in all replicas.
//!
//! Owns no table. Invariants: every stream delivers the entries of a chat once and in the order of their
//! sequence numbers, and none after the entry by which its member left. Each stream ensures this by itself:
//! it delivers only the next sequence number, reads missing entries from the database and stops at the
//! leaving of its member. Therefore the registry and the bus may lose, repeat and reorder entries. One task
//! per replica compares what all streams have with the database and wakes the streams that are behind
//! ([`compare`]).
mod compare;
mod error;
mod fanout;
mod grpc;
mod position;
mod queue;
mod recent;
mod registry;
mod relay;
mod scope;
mod settings;
mod stream;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    ops::ControlFlow,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parta_database::{CommitStep, Db, StorageError, Tx};
use parta_feed::Bus;
use parta_ids::{ChatId, EntryId, MemberId, OrgId};
use parta_proto_chat::v1::subscribe_chats_response::Item;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    entries::{Content, Entry, EntrySink, ShownTo},
    messages::entry_to_proto,
};
use registry::SubscriptionRegistry;
use scope::Scope;

pub(crate) use grpc::{LiveServer, rules};
pub(crate) use position::Cursor;
pub(crate) use relay::FRAME_TIMEOUT;
pub(crate) use settings::{REPLAYS_MAX, Settings};
pub(crate) use stream::subscribe;

/// An entry that many streams share.
#[derive(Debug)]
pub(crate) struct LiveEntry {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) seq: i64,
    /// `None` from a replica of a release that does not send it, and for a mark.
    pub(crate) entry_id: Option<EntryId>,
    pub(crate) kind: LiveKind,
    /// Whether some readers see more than `response` shows: who joined or left. Their streams read the entry
    /// from the database, which decides by the participant as it is then.
    pub(crate) is_partial: bool,
    /// The part that every reader of the chat may see.
    pub(crate) response: Response,
}

impl LiveEntry {
    /// A mark of a chat, which is delivered like an entry and is none.
    fn mark((org_id, chat_id): (OrgId, ChatId), seq: i64, kind: LiveKind) -> Arc<Self> {
        Arc::new(Self {
            org_id,
            chat_id,
            seq,
            entry_id: None,
            kind,
            is_partial: false,
            response: Response::encoded(Bytes::new()),
        })
    }

    /// Whether `response` is all that this member may see of the entry.
    fn is_complete_for(&self, member: MemberId) -> bool {
        let is_own = match self.kind {
            LiveKind::Joining(who) | LiveKind::Leaving(who) => who == member,
            LiveKind::Message | LiveKind::Head | LiveKind::Restored | LiveKind::Chats => false,
        };
        !self.is_partial && !is_own
    }

    fn is_mark(&self) -> bool {
        matches!(self.kind, LiveKind::Head | LiveKind::Restored | LiveKind::Chats)
    }
}

/// A response, encoded once for all streams and replicas. It is encoded at the first use, so that a sender
/// does not wait for it while nobody is subscribed.
#[derive(Debug)]
pub(crate) struct Response {
    encoded: OnceLock<Bytes>,
    /// The entry to encode; `None` once it is encoded.
    entry: Mutex<Option<Entry>>,
    /// The approximate memory of the response, in bytes, encoded or not.
    size: usize,
}

impl Response {
    /// Memory of an entry besides its text, in bytes.
    const OVERHEAD_BYTES: usize = 160;

    fn from_entry(entry: Entry) -> Self {
        let text = match &entry.content {
            Content::Message { text, .. } => text.len(),
            Content::Joining(..) | Content::Leaving(..) => 0,
        };
        Self {
            encoded: OnceLock::new(),
            entry: Mutex::new(Some(entry)),
            size: text + Self::OVERHEAD_BYTES,
        }
    }

    fn encoded(bytes: Bytes) -> Self {
        Self {
            size: bytes.len(),
            encoded: OnceLock::from(bytes),
            entry: Mutex::default(),
        }
    }

    fn bytes(&self) -> Bytes {
        let encode = || {
            let entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner).take();
            entry
                .map(|entry| wire::response(Item::Entry(entry_to_proto(entry, None))))
                .unwrap_or_default()
        };
        self.encoded.get_or_init(encode).clone()
    }
}

/// The part of an entry that decides which streams get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiveKind {
    Message,
    Joining(MemberId),
    Leaving(MemberId),
    /// A mark: the log has entries up to this sequence number, which the stream reads.
    Head,
    /// A mark: the log is not the one that was delivered, because the database was restored.
    Restored,
    /// A mark: the member participates in other chats than those of the stream.
    Chats,
}

impl From<Entry> for LiveEntry {
    fn from(entry: Entry) -> Self {
        let (kind, is_partial) = match &entry.content {
            Content::Message { .. } => (LiveKind::Message, false),
            Content::Joining(member, shown_to) => (LiveKind::Joining(*member), *shown_to != ShownTo::Nobody),
            Content::Leaving(member, shown_to) => (LiveKind::Leaving(*member), *shown_to != ShownTo::Nobody),
        };
        Self {
            org_id: entry.org_id,
            chat_id: entry.chat_id,
            seq: entry.seq,
            entry_id: Some(entry.entry_id),
            kind,
            is_partial,
            response: Response::from_entry(entry),
        }
    }
}

/// The live side of one replica. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Live(Arc<Inner>);

struct Inner {
    registry: Mutex<SubscriptionRegistry>,
    queue_capacity: usize,
    replica: Uuid,
    bus: Arc<dyn Bus>,
    frame_timeout: Duration,
    outgoing: Mutex<Outgoing>,
    outgoing_ready: Notify,
    /// Wakes [`Live::run_fanout`].
    pass_begun: Notify,
    /// The comparisons with the database that were requested.
    requested: Mutex<Scope>,
    /// Wakes [`Live::run_comparisons`].
    comparison_requested: Notify,
}

/// Entries that wait to be published on the bus.
#[derive(Default)]
struct Outgoing {
    entries: VecDeque<Arc<LiveEntry>>,
    /// The number of entries ever published, including dropped ones.
    published: u64,
    /// The organizations whose chats the other replicas shall compare.
    compare: BTreeSet<OrgId>,
}

/// At most this many entries wait for the bus. Above it the oldest are dropped, and the counter of published
/// entries shows the other replicas the loss.
const OUTGOING_MAX_ENTRIES: usize = 65_536;

impl Live {
    /// `queue_capacity` is the number of entries that the queue of one stream holds. Without a frame for
    /// `frame_timeout`, a replica or the bus is considered dead.
    pub(crate) fn new(
        replica: Uuid,
        bus: Arc<dyn Bus>,
        queue_capacity: usize,
        frame_timeout: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            registry: Mutex::new(SubscriptionRegistry::new(queue_capacity)),
            queue_capacity,
            replica,
            bus,
            frame_timeout,
            outgoing: Mutex::default(),
            outgoing_ready: Notify::new(),
            pass_begun: Notify::new(),
            requested: Mutex::default(),
            comparison_requested: Notify::new(),
        }))
    }

    fn deliver(&self, entries: &[Arc<LiveEntry>]) {
        let mut registry = self.registry();
        let mut overflow = false;
        for entry in entries {
            overflow |= registry.deliver(entry);
        }
        let pass_begun = registry.take_pass_begun();
        drop(registry);
        if pass_begun {
            self.0.pass_begun.notify_one();
        }
        if overflow {
            tracing::warn!("fan-out backlog full, subscribers fall back to the database");
            self.request_comparison(Scope::All);
        }
    }

    /// Runs the fan-out to chats with many subscribers until canceled.
    pub(crate) async fn run_fanout(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            let next = loop {
                let step = self.registry().step_fanout();
                match step {
                    // The streams that were woken and the senders run before the next step.
                    ControlFlow::Continue(()) => tokio::task::yield_now().await,
                    ControlFlow::Break(next) => break next,
                }
            };
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = self.0.pass_begun.notified() => {}
                () = due => {}
            }
        }
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, SubscriptionRegistry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EntrySink for Live {
    /// Publishes entries to the streams of this replica and to the bus.
    fn publish(&self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let entries: Vec<_> = entries
            .into_iter()
            .map(|entry| Arc::new(LiveEntry::from(entry)))
            .collect();
        self.deliver(&entries);
        if !self.0.bus.reaches_replicas() {
            return;
        }
        let mut outgoing = self.0.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        outgoing.published += entries.len() as u64;
        outgoing.entries.extend(entries);
        let excess = outgoing.entries.len().saturating_sub(OUTGOING_MAX_ENTRIES);
        if excess > 0 {
            tracing::warn!(
                excess,
                "bus backlog full, other replicas fall back to the database"
            );
            outgoing.entries.drain(..excess);
        }
        drop(outgoing);
        self.0.outgoing_ready.notify_one();
    }

    fn publish_after_commit(&self, tx: &Tx, entries: Vec<Entry>) {
        let step = tx.step::<Staged>();
        step.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((self.clone(), entries));
    }

    fn compare_organization(&self, org: OrgId) {
        self.request_comparison(Scope::Organizations([org].into()));
        if self.0.bus.reaches_replicas() {
            let mut outgoing = self.0.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
            outgoing.compare.insert(org);
            drop(outgoing);
            self.0.outgoing_ready.notify_one();
        }
    }
}

/// Entries of one transaction that wait for its commit.
#[derive(Default)]
struct Staged(Mutex<Vec<(Live, Vec<Entry>)>>);

#[async_trait]
impl CommitStep for Staged {
    async fn before_commit(&self, _tx: &Tx) -> Result<(), StorageError> {
        Ok(())
    }

    fn after_commit(&self, _db: &Db) {
        let staged = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (live, entries) in staged {
            live.publish(entries);
        }
    }

    fn after_unknown_commit(&self, _db: &Db) {
        // The entries are in the database, or they will never be. Only a comparison shows which.
        for (live, entries) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let organizations: BTreeSet<OrgId> = entries.iter().map(|entry| entry.org_id).collect();
            for org in organizations {
                live.compare_organization(org);
            }
        }
    }
}
