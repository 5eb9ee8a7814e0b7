//! The message writer: one task per replica that commits all messages that were queued during the commit
//! before.
//!
//! Invariants: the sequence numbers of a chat have no gap and follow the order of the commits; a message is
//! stored at most once for its `request_id`, sender and chat; nothing is stored for a sender who may not
//! write when the row of the chat is locked; a response follows its commit.
mod outcome;
mod postgres;
mod sqlite;

use std::{
    collections::HashMap,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use parta_access::{KeyedDigest, OrgScope};
use parta_database::{Db, SqliteWriter, StorageError};
use parta_ids::{ChatId, EntryId, Env, MemberId, OrgId};
use parta_status::{RpcError, not_serving, overloaded};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use outcome::{Outcome, Stored};

use super::model::Message;
use crate::entries::{Content, Entry, EntrySink};

type Digest = [u8; 16];

/// A message that waits to be stored.
#[derive(Debug)]
struct PendingMessage {
    message: Message,
    sender: MemberId,
    /// The service that writes for the sender, if any.
    service: Option<String>,
    /// The keyed digest of the text and the service, which distinguishes a repetition from another message.
    digest: Digest,
    entry_id: EntryId,
}

impl PendingMessage {
    /// Only the first message with each key is stored.
    fn key(&self) -> (OrgId, ChatId, MemberId, Uuid) {
        let message = &self.message;
        (message.org_id, message.to, self.sender, message.request_id)
    }
}

/// Messages that are stored together. Cheap to clone and to split.
#[derive(Clone)]
struct Batch {
    all: Arc<[PendingMessage]>,
    part: Range<usize>,
}

impl Batch {
    fn messages(&self) -> &[PendingMessage] {
        self.all.get(self.part.clone()).unwrap_or_default()
    }

    fn halves(self) -> (Self, Self) {
        let Range { start, end } = self.part;
        let middle = start + (end - start) / 2;
        let half = |part| Self {
            all: self.all.clone(),
            part,
        };
        (half(start..middle), half(middle..end))
    }
}

struct Job {
    pending: PendingMessage,
    reply: oneshot::Sender<Result<Outcome, RpcError>>,
}

/// Enqueues messages for the writer task. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    env: Env,
    /// Keyed, so that the text of a deleted message cannot be guessed from its digest.
    digests: KeyedDigest,
}

/// The task of the service that stores the queued messages.
pub(crate) struct WriterTask {
    db: Db,
    sink: Arc<dyn EntrySink>,
    batch: usize,
    /// `None` on PostgreSQL.
    sqlite: Option<SqliteWriter>,
    // If the task fails it is restarted with the same queue.
    queue: Mutex<mpsc::Receiver<Job>>,
}

/// Creates a writer and its task. `capacity` and `batch` are numbers of messages.
pub(crate) fn writer(
    db: Db,
    sink: Arc<dyn EntrySink>,
    capacity: usize,
    batch: usize,
) -> (Writer, Arc<WriterTask>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (
        Writer {
            queue: sender,
            env: db.env().clone(),
            digests: db.secrets().keyed("chat.message"),
        },
        Arc::new(WriterTask {
            sqlite: db.sqlite_writer(),
            db,
            sink,
            batch,
            queue: Mutex::new(receiver),
        }),
    )
}

impl Writer {
    /// Enqueues a message and waits for its commit. The scope proves that the caller may act in the
    /// organization. Whether the sender may write in the chat is decided with the row of the chat locked.
    pub(crate) async fn send(
        &self,
        scope: &OrgScope,
        sender: MemberId,
        service: Option<String>,
        message: Message,
    ) -> Result<Outcome, RpcError> {
        let service_name = service.as_deref().unwrap_or_default();
        let [digest @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            self.digests
                .digest([service_name.as_bytes(), &[0], message.text.as_bytes()]);
        let pending = PendingMessage {
            message: Message {
                org_id: scope.org_id(),
                ..message
            },
            sender,
            service,
            digest,
            entry_id: self.env.id(),
        };
        let (reply, outcome) = oneshot::channel();
        self.queue
            .try_send(Job { pending, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    let why = "The server has too many messages to store. Try again in a moment.";
                    overloaded(why, Duration::from_millis(500))
                }
                mpsc::error::TrySendError::Closed(_) => not_serving(),
            })?;
        outcome.await.unwrap_or_else(|_| Err(not_serving()))
    }
}

impl WriterTask {
    /// Stores queued messages until canceled. Messages that are queued by then are still stored.
    pub(crate) async fn run(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut queue = self.queue.lock().await;
        let mut session = postgres::Session::default();
        let mut jobs = Vec::with_capacity(self.batch);
        loop {
            tokio::select! {
                biased;
                count = queue.recv_many(&mut jobs, self.batch) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.serve(&mut session, std::mem::take(&mut jobs)).await;
                }
                () = cancel.cancelled(), if !queue.is_closed() => queue.close(),
            }
        }
    }

    /// Stores a batch, replies to every sender and publishes the new entries.
    async fn serve(&self, session: &mut postgres::Session, jobs: Vec<Job>) {
        // Repetitions within the batch get the reply of the first one.
        let mut indexes: HashMap<_, usize> = HashMap::with_capacity(jobs.len());
        let mut messages = Vec::with_capacity(jobs.len());
        let mut replies: Vec<Vec<(Digest, oneshot::Sender<_>)>> = Vec::with_capacity(jobs.len());
        for Job { pending, reply } in jobs {
            let index = *indexes.entry(pending.key()).or_insert(messages.len());
            let waiter = (pending.digest, reply);
            if index == messages.len() {
                messages.push(pending);
                replies.push(vec![waiter]);
            } else if let Some(waiters) = replies.get_mut(index) {
                waiters.push(waiter);
            }
        }
        let all: Arc<[PendingMessage]> = messages.into();
        let outcomes = self.store(session, all.clone()).await;
        let new_entries: Vec<_> = all
            .iter()
            .zip(&outcomes)
            .filter_map(|(pending, outcome)| match outcome {
                // The id shows that this batch stored the entry, even if a retry found it after a lost commit
                // reply.
                Ok(Outcome::Stored(stored)) if stored.entry_id == pending.entry_id => {
                    Some(entry(pending, stored))
                }
                _ => None,
            })
            .collect();
        for ((pending, outcome), replies) in all.iter().zip(outcomes).zip(replies) {
            for (digest, reply) in replies {
                let same = digest == pending.digest;
                let result = match &outcome {
                    // The first message of the batch used the request_id.
                    Ok(Outcome::Stored(_)) if !same => Ok(Outcome::RequestIdReused),
                    other => other.clone(),
                };
                // A caller that is gone gets the same result when it sends the message again.
                _ = reply.send(result);
            }
        }
        // After the replies, so that senders can send the next message meanwhile.
        self.sink.publish(new_entries);
    }

    /// Stores messages with different keys. A batch that fails permanently is retried in halves, so that one
    /// bad row does not fail the others.
    async fn store(
        &self,
        session: &mut postgres::Session,
        all: Arc<[PendingMessage]>,
    ) -> Vec<Result<Outcome, RpcError>> {
        let mut outcomes = Vec::with_capacity(all.len());
        let part = 0..all.len();
        let mut parts = vec![Batch { all, part }];
        while let Some(batch) = parts.pop() {
            let rows = batch.messages().len();
            match self.commit(session, &batch).await {
                Ok(done) => outcomes.extend(done.into_iter().map(Ok)),
                Err(error) if error.is_transient() || rows < 2 => {
                    let refusal = RpcError::from(error);
                    outcomes.extend((0..rows).map(|_| Err(refusal.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, rows, "batch insert failed, retrying in halves");
                    let (one, other) = batch.halves();
                    parts.push(other);
                    parts.push(one);
                }
            }
        }
        outcomes
    }

    /// Commits one batch and retries with the same rows where an immediate retry can help. If the reply to a
    /// commit was lost, the retry waits for the locked rows of the chats and then finds the messages stored.
    async fn commit(
        &self,
        session: &mut postgres::Session,
        batch: &Batch,
    ) -> Result<Vec<Outcome>, StorageError> {
        const ATTEMPTS: u32 = 6;
        // The first attempt may wait for a lost host, and so may the next one for a new connection. The senders
        // of later messages do not wait for more.
        const LAST_ATTEMPT_AFTER: Duration = Duration::from_secs(12);
        let (mut attempt, started) = (0, Instant::now());
        loop {
            let now = self.db.env().now();
            let result = match &self.sqlite {
                Some(writer) => sqlite::store(writer, batch.clone(), now).await,
                None => postgres::store(&self.db, session, batch.messages(), now).await,
            };
            attempt += 1;
            match result {
                Err(error)
                    if error.is_worth_an_immediate_retry()
                        && attempt < ATTEMPTS
                        && started.elapsed() < LAST_ATTEMPT_AFTER =>
                {
                    tracing::debug!(%error, attempt, "batch insert failed, retrying");
                    tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
                }
                other => return other,
            }
        }
    }
}

fn entry(pending: &PendingMessage, stored: &Stored) -> Entry {
    Entry {
        org_id: pending.message.org_id,
        chat_id: pending.message.to,
        seq: stored.seq,
        entry_id: stored.entry_id,
        create_time: stored.create_time,
        content: Content::Message {
            sender: pending.sender,
            text: pending.message.text.clone(),
            service: pending.service.clone(),
        },
    }
}

/// The type of a creation time for both databases.
type Time = DateTime<Utc>;
