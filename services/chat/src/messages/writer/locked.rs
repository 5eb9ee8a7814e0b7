//! Stores the messages of chats whose rows other transactions have locked, for example one that applies a
//! change of the roster. Each chat has transactions of its own, so that no chat waits for another one.
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use parta_ids::{ChatId, OrgId};
use parta_status::not_serving;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Job, Storing, postgres::Session};

/// At most this many chats are waited for at the same time, each with a connection. If more are locked they
/// take turns: a transaction waits a limited time.
const MAX_WAITING: usize = 4;

type ChatKey = (OrgId, ChatId);

/// The task of the service that stores the messages of locked chats.
pub(crate) struct LockedChatsTask {
    storing: Arc<Storing>,
    batch: usize,
    // If the task fails it is restarted with the same queue.
    queue: Mutex<mpsc::Receiver<Job>>,
}

/// The messages of locked chats that no transaction stores yet.
#[derive(Default)]
struct LockedChats {
    messages: HashMap<ChatKey, Vec<Job>>,
    /// The chats with messages, except those in a transaction.
    turns: VecDeque<ChatKey>,
    /// The chats in a transaction.
    waiting: HashSet<ChatKey>,
}

impl LockedChats {
    fn add(&mut self, job: Job) {
        let message = &job.pending.message;
        let chat = (message.org_id, message.to);
        let jobs = self.messages.entry(chat).or_default();
        if jobs.is_empty() && !self.waiting.contains(&chat) {
            self.turns.push_back(chat);
        }
        jobs.push(job);
    }

    /// The next chat whose turn it is, with at most `batch` of its messages.
    fn next(&mut self, batch: usize) -> Option<(ChatKey, Vec<Job>)> {
        let chat = self.turns.pop_front()?;
        let mut jobs = self.messages.remove(&chat)?;
        if jobs.len() > batch {
            self.messages.insert(chat, jobs.split_off(batch));
        }
        self.waiting.insert(chat);
        Some((chat, jobs))
    }

    /// A transaction of the chat has ended. `locked` are the messages that it did not store.
    fn end(&mut self, chat: ChatKey, mut locked: Vec<Job>) {
        self.waiting.remove(&chat);
        let later = self.messages.remove(&chat).unwrap_or_default();
        locked.extend(later);
        if !locked.is_empty() {
            self.messages.insert(chat, locked);
            self.turns.push_back(chat);
        }
    }
}

impl LockedChatsTask {
    /// `batch` is the number of messages in one transaction.
    pub(super) fn new(storing: Arc<Storing>, batch: usize, queue: mpsc::Receiver<Job>) -> Self {
        Self {
            storing,
            batch,
            queue: Mutex::new(queue),
        }
    }

    /// Stores the messages of locked chats until canceled. Then each chat has one more transaction, and the
    /// messages of chats that stay locked are refused.
    pub(crate) async fn run(&self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut queue = self.queue.lock().await;
        let mut open = true;
        let mut locked_chats = LockedChats::default();
        let mut transactions = FuturesUnordered::new();
        loop {
            while transactions.len() < MAX_WAITING
                && let Some((chat, jobs)) = locked_chats.next(self.batch)
            {
                transactions.push(async move {
                    let mut session = Session::waiting();
                    (chat, self.storing.serve(&mut session, jobs).await)
                });
            }
            if !open && transactions.is_empty() {
                // The server stops, and may have dropped the senders before it ends its tasks.
                cancel.cancelled().await;
                return Ok(());
            }
            tokio::select! {
                biased;
                Some((chat, mut locked)) = transactions.next(), if !transactions.is_empty() => {
                    if cancel.is_cancelled() {
                        for job in locked.drain(..) {
                            job.refuse(&not_serving());
                        }
                    }
                    locked_chats.end(chat, locked);
                }
                job = queue.recv(), if open => match job {
                    Some(job) => locked_chats.add(job),
                    None => open = false,
                },
                () = cancel.cancelled(), if !queue.is_closed() => queue.close(),
            }
        }
    }
}
