//! Live delivery: what was committed reaches every open stream of the chat's people, here and in other replicas.
//!
//! The router only carries; that nothing is missed, repeated or shown after a removal is kept by each stream, which takes
//! the entries of a chat strictly by their places, reads what is missing from the database, and ends a chat at the
//! entry of its own member's leaving. So nothing that is right depends on the bus.
mod fanout;
mod grpc;
mod queue;
mod recent;
mod registry;
mod relay;
mod stream;
mod wire;

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use parta_feed::Bus;
use parta_ids::{ChatId, MemberId, OrgId};
use parta_proto::parta::chat::v1::subscribe_chats_response::Item;
use parta_storage::{CommitStep, Db, StorageError, Tx};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    entries::{Content, Entry, EntrySink},
    messages::entry_to_proto,
};
use registry::SubscriptionRegistry;

pub(crate) use grpc::{LiveServer, rules};
pub(crate) use stream::{Settings, subscribe};

/// An entry as it is handed to many streams.
#[derive(Debug)]
pub(crate) struct LiveEntry {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) seq: i64,
    pub(crate) kind: LiveKind,
    /// The response that carries it.
    pub(crate) response: Response,
}

/// A response, encoded once for all streams and replicas, when the first of them wants it: while nobody listens a sender is
/// not to wait for that.
#[derive(Debug)]
pub(crate) struct Response {
    encoded: OnceLock<Bytes>,
    /// What is to be encoded; taken by it.
    row: Mutex<Option<Entry>>,
    /// About as many bytes it takes, encoded or not.
    size: usize,
}

impl Response {
    /// So many bytes an entry takes besides its text.
    const AROUND: usize = 160;

    fn of(row: Entry) -> Self {
        let text = match &row.content {
            Content::Message { text, .. } => text.len(),
            Content::Joining(_) | Content::Leaving(_) => 0,
        };
        Self {
            encoded: OnceLock::new(),
            row: Mutex::new(Some(row)),
            size: text + Self::AROUND,
        }
    }

    fn encoded(bytes: Bytes) -> Self {
        Self {
            size: bytes.len(),
            encoded: OnceLock::from(bytes),
            row: Mutex::default(),
        }
    }

    fn bytes(&self) -> Bytes {
        let encode = || {
            let row = self.row.lock().unwrap_or_else(PoisonError::into_inner).take();
            row.map(|row| wire::response(Item::Entry(entry_to_proto(row))))
                .unwrap_or_default()
        };
        self.encoded.get_or_init(encode).clone()
    }
}

/// What of an entry decides who gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiveKind {
    Message,
    Joining(MemberId),
    Leaving(MemberId),
}

impl From<Entry> for LiveEntry {
    fn from(row: Entry) -> Self {
        let kind = match &row.content {
            Content::Message { .. } => LiveKind::Message,
            Content::Joining(member) => LiveKind::Joining(*member),
            Content::Leaving(member) => LiveKind::Leaving(*member),
        };
        Self {
            org_id: row.org_id,
            chat_id: row.chat_id,
            seq: row.seq,
            kind,
            response: Response::of(row),
        }
    }
}

/// The live side of one replica. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Live(Arc<Inner>);

struct Inner {
    routes: Mutex<SubscriptionRegistry>,
    queue: usize,
    replica: Uuid,
    bus: Arc<dyn Bus>,
    outgoing: Mutex<Outgoing>,
    waiting: Notify,
    /// Wakes whoever fanout.
    sweep: Notify,
    /// Rises when something may have been missed: every stream compares its chats' heads with the database.
    missed: watch::Sender<u64>,
}

/// What waits for the bus.
#[derive(Default)]
struct Outgoing {
    entries: VecDeque<Arc<LiveEntry>>,
    /// How many there have ever been, those that were dropped among them.
    published: u64,
}

/// Most entries that wait for the bus; beyond, the other replicas are told that they missed something.
const OUTGOING: usize = 65_536;

impl Live {
    /// `queue` is how many entries may wait for one reader.
    pub(crate) fn new(replica: Uuid, bus: Arc<dyn Bus>, queue: usize) -> Self {
        Self(Arc::new(Inner {
            routes: Mutex::new(SubscriptionRegistry::new(queue)),
            queue,
            replica,
            bus,
            outgoing: Mutex::default(),
            waiting: Notify::new(),
            sweep: Notify::new(),
            missed: watch::Sender::new(0),
        }))
    }

    fn deliver(&self, entries: &[Arc<LiveEntry>]) {
        let mut routes = self.routes();
        let mut overflow = false;
        for entry in entries {
            overflow |= routes.deliver(entry);
        }
        let begun = routes.has_begun();
        drop(routes);
        if begun {
            self.0.sweep.notify_one();
        }
        if overflow {
            tracing::warn!(
                "entries come faster than they are handed on; streams will read from the database"
            );
            self.compare_heads();
        }
    }

    /// Hands entries to the many listeners of large chats, until `cancel`.
    pub(crate) async fn sweep(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            let next = loop {
                let step = self.routes().sweep();
                match step {
                    // Whoever was woken and whoever has something to say comes before the next.
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
                () = self.0.sweep.notified() => {}
                () = due => {}
            }
        }
    }

    fn routes(&self) -> std::sync::MutexGuard<'_, SubscriptionRegistry> {
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every stream compare its chats' heads with the database.
    pub(crate) fn compare_heads(&self) {
        self.0.missed.send_modify(|n| *n = n.wrapping_add(1));
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
            .map(|row| Arc::new(LiveEntry::from(row)))
            .collect();
        self.deliver(&entries);
        if !self.0.bus.reaches_replicas() {
            return;
        }
        let mut outgoing = self.0.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        outgoing.published += entries.len() as u64;
        outgoing.entries.extend(entries);
        let excess = outgoing.entries.len().saturating_sub(OUTGOING);
        if excess > 0 {
            tracing::warn!(
                excess,
                "the bus does not keep up; other replicas will read from the database"
            );
            outgoing.entries.drain(..excess);
        }
        drop(outgoing);
        self.0.waiting.notify_one();
    }

    fn publish_after_commit(&self, tx: &Tx, entries: Vec<Entry>) {
        let step = tx.step::<Staged>();
        step.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((self.clone(), entries));
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
}

#[cfg(test)]
mod tests {
    use parta_ids::{EntryId, TypedId as _};

    use super::*;

    #[test]
    fn a_response_is_encoded_once_and_not_before_it_is_wanted() {
        let row = Entry {
            org_id: OrgId::from_uuid(Uuid::from_u128(1)),
            chat_id: ChatId::from_uuid(Uuid::from_u128(2)),
            seq: 3,
            entry_id: EntryId::from_uuid(Uuid::from_u128(4)),
            create_time: chrono::DateTime::UNIX_EPOCH,
            content: Content::Joining(MemberId::from_uuid(Uuid::from_u128(5))),
        };
        let live = LiveEntry::from(row.clone());
        assert_eq!(live.response.encoded.get(), None);
        let (one, other) = (live.response.bytes(), live.response.bytes());
        assert_eq!(one, wire::response(Item::Entry(entry_to_proto(row))));
        assert_eq!(one.as_ptr(), other.as_ptr());
    }
}
