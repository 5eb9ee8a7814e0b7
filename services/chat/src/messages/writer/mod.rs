//! The message writer: one task per replica that commits all messages that were queued during the commit
//! before. It never waits for the row of a chat: messages of a chat that another transaction has locked are
//! stored by a second task, in transactions of their own ([`locked`]).
//!
//! Invariants: the sequence numbers of a chat have no gap and follow the order of the commits; a message is
//! stored at most once for its `request_id`, sender and chat; nothing is stored for a sender who may not
//! write when the row of the chat is locked; a response follows its commit.
mod locked;
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

pub(crate) use locked::LockedChatsTask;
pub(crate) use outcome::{Outcome, Stored};

use super::model::Message;
use crate::entries::{Content, Entry, EntrySink};

type Digest = [u8; 16];

/// A message that waits to be stored.
#[derive(Debug, Clone)]
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

/// A caller that waits for the outcome of a message, with the digest of the caller's message.
type Waiter = (Digest, oneshot::Sender<Result<Outcome, RpcError>>);

/// A message and the callers that wait for it: one, or several that sent repetitions.
struct Job {
    pending: PendingMessage,
    waiters: Vec<Waiter>,
}

impl Job {
    fn refuse(self, refusal: &RpcError) {
        for (_, reply) in self.waiters {
            _ = reply.send(Err(refusal.clone()));
        }
    }
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
    storing: Arc<Storing>,
    batch: usize,
    /// Messages whose chat another transaction has locked.
    locked: mpsc::Sender<Job>,
    // If the task fails it is restarted with the same queue.
    queue: Mutex<mpsc::Receiver<Job>>,
}

/// Stores batches, replies to their senders and publishes the new entries.
struct Storing {
    db: Db,
    sink: Arc<dyn EntrySink>,
    /// `None` on PostgreSQL.
    sqlite: Option<SqliteWriter>,
}

/// A writer and its two tasks.
pub(crate) struct Writing {
    pub(crate) writer: Writer,
    pub(crate) task: Arc<WriterTask>,
    pub(crate) locked_chats: Arc<LockedChatsTask>,
}

#[cfg(test)]
impl Writing {
    /// A writer whose messages are stored as those of locked chats.
    pub(in crate::messages) fn of_locked_chats(&self) -> Writer {
        Writer {
            queue: self.task.locked.clone(),
            ..self.writer.clone()
        }
    }
}

/// Creates a writer and its tasks. `capacity` and `batch` are numbers of messages.
pub(crate) fn writer(db: Db, sink: Arc<dyn EntrySink>, capacity: usize, batch: usize) -> Writing {
    let (sender, receiver) = mpsc::channel(capacity);
    let (locked, locked_jobs) = mpsc::channel(capacity);
    let writer = Writer {
        queue: sender,
        env: db.env().clone(),
        digests: db.secrets().keyed("chat.message"),
    };
    let sqlite = db.sqlite_writer();
    let storing = Arc::new(Storing { db, sink, sqlite });
    Writing {
        writer,
        locked_chats: Arc::new(LockedChatsTask::new(storing.clone(), batch, locked_jobs)),
        task: Arc::new(WriterTask {
            storing,
            batch,
            locked,
            queue: Mutex::new(receiver),
        }),
    }
}

/// The refusal of a message for which no queue has room.
fn queue_full() -> RpcError {
    let why = "The server has too many messages to store. Try again in a moment.";
    overloaded(why, Duration::from_millis(500))
}

/// Enqueues a job. A job that cannot be enqueued is returned with the refusal.
fn enqueue(queue: &mpsc::Sender<Job>, job: Job) -> Result<(), Box<(Job, RpcError)>> {
    queue.try_send(job).map_err(|error| match error {
        mpsc::error::TrySendError::Full(job) => Box::new((job, queue_full())),
        mpsc::error::TrySendError::Closed(job) => Box::new((job, not_serving())),
    })
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
        let waiters = vec![(digest, reply)];
        enqueue(&self.queue, Job { pending, waiters }).map_err(|failed| failed.1)?;
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
                        // The server stops, and may have dropped the senders before it ends its tasks.
                        cancel.cancelled().await;
                        return Ok(());
                    }
                    let locked = self.storing.serve(&mut session, std::mem::take(&mut jobs)).await;
                    for job in locked {
                        if let Err(failed) = enqueue(&self.locked, job) {
                            let (job, refusal) = *failed;
                            job.refuse(&refusal);
                        }
                    }
                }
                () = cancel.cancelled(), if !queue.is_closed() => queue.close(),
            }
        }
    }
}

impl Storing {
    /// Stores a batch, replies to its senders and publishes the new entries. Returns the messages of chats
    /// that another transaction has locked.
    async fn serve(&self, session: &mut postgres::Session, jobs: Vec<Job>) -> Vec<Job> {
        // Repetitions within the batch get the reply of the first one.
        let mut indexes: HashMap<_, usize> = HashMap::with_capacity(jobs.len());
        let mut messages = Vec::with_capacity(jobs.len());
        let mut replies: Vec<Vec<Waiter>> = Vec::with_capacity(jobs.len());
        for Job { pending, waiters } in jobs {
            let index = *indexes.entry(pending.key()).or_insert(messages.len());
            if index == messages.len() {
                messages.push(pending);
                replies.push(waiters);
            } else if let Some(present) = replies.get_mut(index) {
                present.extend(waiters);
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
                Ok(Some(Outcome::Stored(stored))) if stored.entry_id == pending.entry_id => {
                    Some(entry(pending, stored))
                }
                _ => None,
            })
            .collect();
        let mut locked = Vec::new();
        for ((pending, outcome), waiters) in all.iter().zip(outcomes).zip(replies) {
            let outcome = match outcome {
                Ok(Some(outcome)) => Ok(outcome),
                Ok(None) => {
                    let pending = pending.clone();
                    locked.push(Job { pending, waiters });
                    continue;
                }
                Err(refusal) => {
                    // The reply to the commit may have been lost in each attempt.
                    self.sink.compare_organization(pending.message.org_id);
                    Err(refusal)
                }
            };
            if let Ok(Outcome::Stored(stored)) = &outcome
                && stored.entry_id != pending.entry_id
            {
                // The attempt that stored the entry may have died before it published it.
                self.sink.compare_organization(pending.message.org_id);
            }
            for (digest, reply) in waiters {
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
        locked
    }

    /// Stores messages with different keys; `None` for one whose chat another transaction has locked. A batch
    /// that fails permanently is retried in halves, so that one bad row does not fail the others.
    async fn store(
        &self,
        session: &mut postgres::Session,
        all: Arc<[PendingMessage]>,
    ) -> Vec<Result<Option<Outcome>, RpcError>> {
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
    ) -> Result<Vec<Option<Outcome>>, StorageError> {
        const ATTEMPTS: u32 = 6;
        // The first attempt may wait for a lost host, and so may the next one for a new connection. The
        // senders of later messages do not wait for more.
        const LAST_ATTEMPT_AFTER: Duration = Duration::from_secs(12);
        let (mut attempt, started) = (0, Instant::now());
        loop {
            let now = self.db.env().now();
            let result = match &self.sqlite {
                Some(writer) => {
                    let stored = sqlite::store(writer, batch.clone(), now).await;
                    stored.map(|outcomes| outcomes.into_iter().map(Some).collect())
                }
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
