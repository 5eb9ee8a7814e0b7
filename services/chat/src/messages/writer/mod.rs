//! The hot path: one task per database that commits whatever queued while the commit before was in flight.
//!
//! Invariants: a chat's places are gapless and in the order of the commits; a message is stored once however often it is
//! sent; nothing is stored for who may not write at the moment its chat's head is locked; an answer follows its commit.
mod outcome;
mod postgres;
mod sqlite;

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use parta_access::{KeyedDigest, OrgScope};
use parta_ids::{ChatId, EntryId, Env, MemberId, OrgId};
use parta_proto::parta::status::v1::ErrorReason;
use parta_status::RpcError;
use parta_storage::{Db, SqliteWriter, StorageError};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use outcome::{Outcome, Stored};

use crate::entries::{Content, Entry, EntrySink};

type Digest = [u8; 16];

/// A message that somebody writes.
pub(crate) struct Message {
    pub(crate) chat_id: ChatId,
    pub(crate) sender: MemberId,
    pub(crate) request_id: Uuid,
    pub(crate) text: String,
    /// The service that writes for the sender.
    pub(crate) service: Option<String>,
}

/// A message that is to be stored.
#[derive(Debug)]
struct PendingMessage {
    org_id: OrgId,
    chat_id: ChatId,
    sender: MemberId,
    request_id: Uuid,
    /// Keyed digest of what was asked for.
    digest: Digest,
    entry_id: EntryId,
    text: String,
    service: Option<String>,
}

impl PendingMessage {
    /// Of all posts with one of these only the first is stored.
    fn key(&self) -> (OrgId, ChatId, MemberId, Uuid) {
        (self.org_id, self.chat_id, self.sender, self.request_id)
    }
}

/// Posts that are stored together; cheap to clone and to halve.
#[derive(Clone)]
struct Batch {
    all: Arc<[PendingMessage]>,
    part: Range<usize>,
}

impl Batch {
    fn posts(&self) -> &[PendingMessage] {
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
    post: PendingMessage,
    reply: oneshot::Sender<Result<Outcome, RpcError>>,
}

/// Takes messages and answers when they are stored. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    env: Env,
    /// Keyed, so that what was deleted cannot be guessed from what is kept of it.
    digests: KeyedDigest,
}

/// The other end of the queue: runs as a task of the service.
pub(crate) struct WriterTask {
    db: Db,
    sink: Arc<dyn EntrySink>,
    batch: usize,
    /// On SQLite.
    direct: Option<SqliteWriter>,
    // The task is started again should it ever fail; the queue outlives it.
    queue: Mutex<mpsc::Receiver<Job>>,
}

/// A writer and the task that serves it.
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
            direct: db.sqlite_writer(),
            db,
            sink,
            batch,
            queue: Mutex::new(receiver),
        }),
    )
}

impl Writer {
    /// Hands a message to the writer and waits for the commit. The scope proves that the caller may speak for the
    /// organization; whether the sender may write in the chat is decided under the lock of its head.
    pub(crate) async fn send(&self, scope: &OrgScope, message: Message) -> Result<Outcome, RpcError> {
        let Message {
            chat_id,
            sender,
            request_id,
            text,
            service,
        } = message;
        let by = service.as_deref().unwrap_or_default();
        let [digest @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            self.digests.digest([by.as_bytes(), &[0], text.as_bytes()]);
        let post = PendingMessage {
            org_id: scope.org_id(),
            chat_id,
            sender,
            request_id,
            digest,
            entry_id: self.env.id(),
            text,
            service,
        };
        let (reply, answer) = oneshot::channel();
        self.queue
            .try_send(Job { post, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    let why = "More messages are waiting to be stored than the server takes on.";
                    RpcError::new(ErrorReason::Overloaded, why).retry_after(Duration::from_millis(500))
                }
                mpsc::error::TrySendError::Closed(_) => stopping(),
            })?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

fn stopping() -> RpcError {
    RpcError::new(ErrorReason::NotServing, "The server is stopping.").retry_after(Duration::from_secs(1))
}

impl WriterTask {
    /// Serves the queue until `cancel`; what waits then is still stored.
    pub(crate) async fn run(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut queue = self.queue.lock().await;
        let mut link = postgres::Session::default();
        let mut jobs = Vec::with_capacity(self.batch);
        loop {
            tokio::select! {
                biased;
                count = queue.recv_many(&mut jobs, self.batch) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.serve(&mut link, std::mem::take(&mut jobs)).await;
                }
                () = cancel.cancelled(), if !queue.is_closed() => queue.close(),
            }
        }
    }

    /// Stores a batch, answers each and hands on what is new.
    async fn serve(&self, link: &mut postgres::Session, jobs: Vec<Job>) {
        // Repetitions within the batch wait for the first of their kind: dropped before anything is counted.
        let mut first: HashMap<_, usize> = HashMap::with_capacity(jobs.len());
        let mut posts = Vec::with_capacity(jobs.len());
        let mut waiting: Vec<Vec<(Digest, oneshot::Sender<_>)>> = Vec::with_capacity(jobs.len());
        for Job { post, reply } in jobs {
            let at = *first.entry(post.key()).or_insert(posts.len());
            let waits = (post.digest, reply);
            if at == posts.len() {
                posts.push(post);
                waiting.push(vec![waits]);
            } else if let Some(others) = waiting.get_mut(at) {
                others.push(waits);
            }
        }
        let all: Arc<[PendingMessage]> = posts.into();
        let outcomes = self.store(link, all.clone()).await;
        let fresh: Vec<_> = all
            .iter()
            .zip(&outcomes)
            .filter_map(|(post, outcome)| match outcome {
                // By its own id, so that one is handed on too whose commit was only found by the repetition.
                Ok(Outcome::Stored(stored)) if stored.entry_id == post.entry_id => Some(entry(post, stored)),
                _ => None,
            })
            .collect();
        for ((post, outcome), replies) in all.iter().zip(outcomes).zip(waiting) {
            for (digest, reply) in replies {
                let same = digest == post.digest;
                let answer = match &outcome {
                    // Whoever was first in the batch decided what the request_id stands for.
                    Ok(Outcome::Stored(_)) if !same => Ok(Outcome::RequestIdReused),
                    other => other.clone(),
                };
                // A caller that has gone finds its message by sending it again.
                _ = reply.send(answer);
            }
        }
        // After the answers: whoever got one may send the next message meanwhile.
        self.sink.publish(fresh);
    }

    /// Stores posts, each key once. A batch that fails by itself is run again by halves, so that one bad row does not
    /// take the others with it.
    async fn store(
        &self,
        link: &mut postgres::Session,
        all: Arc<[PendingMessage]>,
    ) -> Vec<Result<Outcome, RpcError>> {
        let mut outcomes = Vec::with_capacity(all.len());
        let part = 0..all.len();
        let mut parts = vec![Batch { all, part }];
        while let Some(batch) = parts.pop() {
            let rows = batch.posts().len();
            match self.commit(link, &batch).await {
                Ok(done) => outcomes.extend(done.into_iter().map(Ok)),
                Err(error) if error.is_transient() || rows < 2 => {
                    let refusal = RpcError::from(error);
                    outcomes.extend((0..rows).map(|_| Err(refusal.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, rows, "a batch of messages is stored by halves");
                    let (one, other) = batch.halves();
                    parts.push(other);
                    parts.push(one);
                }
            }
        }
        outcomes
    }

    /// Commits one batch, sending the same rows again where the connection broke: the heads' locks make the repetition
    /// wait for a commit whose fate is unknown, and then it finds them stored.
    async fn commit(
        &self,
        link: &mut postgres::Session,
        batch: &Batch,
    ) -> Result<Vec<Outcome>, StorageError> {
        const ATTEMPTS: u32 = 6;
        let mut attempt = 0;
        loop {
            let now = self.db.env().now();
            let result = match &self.direct {
                Some(writer) => sqlite::store(writer, batch.clone(), now).await,
                None => postgres::store(&self.db, link, batch.posts(), now).await,
            };
            attempt += 1;
            match result {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                    tracing::debug!(%error, attempt, "a batch of messages is sent to the database again");
                    tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
                }
                other => return other,
            }
        }
    }
}

fn entry(post: &PendingMessage, stored: &Stored) -> Entry {
    Entry {
        org_id: post.org_id,
        chat_id: post.chat_id,
        seq: stored.seq,
        entry_id: stored.entry_id,
        create_time: stored.create_time,
        content: Content::Message {
            sender: post.sender,
            text: post.text.clone(),
            service: post.service.clone(),
        },
    }
}

/// A time as it is answered; shared by both databases.
type Time = DateTime<Utc>;
