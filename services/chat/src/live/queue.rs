use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::LiveEntry;

/// The queue of one stream. Most of the ten thousand queues are empty, so an empty queue allocates nothing.
#[derive(Default)]
struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    entries: VecDeque<Arc<LiveEntry>>,
    closed: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending half. Dropping it closes the queue.
pub(super) struct QueueSender {
    queue: Arc<Queue>,
    capacity: usize,
}

/// The receiving half.
pub(super) struct QueueReceiver(Arc<Queue>);

/// Creates a queue of at most `capacity` entries.
pub(super) fn queue(capacity: usize) -> (QueueSender, QueueReceiver) {
    let queue = Arc::<Queue>::default();
    let sender = QueueSender {
        queue: queue.clone(),
        capacity,
    };
    (sender, QueueReceiver(queue))
}

impl QueueSender {
    /// Appends the entries and returns true, or appends none and returns false if they do not all fit.
    pub(super) fn enqueue(&self, entries: &[Arc<LiveEntry>]) -> bool {
        let mut state = self.queue.lock();
        if state.entries.len() + entries.len() > self.capacity {
            return false;
        }
        state.entries.extend(entries.iter().cloned());
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl Drop for QueueSender {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl QueueReceiver {
    /// Waits for entries and returns all of them in order; `None` once the queue is closed and empty.
    pub(super) async fn dequeue(&mut self) -> Option<VecDeque<Arc<LiveEntry>>> {
        std::future::poll_fn(|context| self.poll_dequeue(context)).await
    }

    fn poll_dequeue(&mut self, context: &mut Context<'_>) -> Poll<Option<VecDeque<Arc<LiveEntry>>>> {
        let mut state = self.0.lock();
        if !state.entries.is_empty() {
            return Poll::Ready(Some(mem::take(&mut state.entries)));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use parta_ids::{ChatId, OrgId, TypedId, Uuid};

    use super::{
        super::{LiveKind, Response},
        *,
    };

    fn entry(seq: i64) -> Arc<LiveEntry> {
        Arc::new(LiveEntry {
            org_id: OrgId::from_uuid(Uuid::from_u128(1)),
            chat_id: ChatId::from_uuid(Uuid::from_u128(1)),
            seq,
            entry_id: None,
            kind: LiveKind::Message,
            is_partial: false,
            response: Response::encoded(Bytes::new()),
        })
    }

    fn seqs(entries: &VecDeque<Arc<LiveEntry>>) -> Vec<i64> {
        entries.iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn entries_are_received_in_order_by_a_waiting_receiver() {
        parta_testkit::run(async {
            let (sender, mut receiver) = queue(1_000);
            let read = async {
                let mut seen = Vec::new();
                while let Some(entries) = receiver.dequeue().await {
                    seen.extend(seqs(&entries));
                }
                seen
            };
            let write = async move {
                for seq in 0..500 {
                    assert!(sender.enqueue(&[entry(seq * 2), entry(seq * 2 + 1)]));
                    if seq % 7 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            };
            let both = async { tokio::join!(read, write).0 };
            let seen = tokio::time::timeout(Duration::from_secs(10), both).await;
            assert_eq!(seen.unwrap(), (0..1_000).collect::<Vec<_>>());
        });
    }

    #[test]
    fn entries_beyond_the_capacity_are_rejected() {
        parta_testkit::run(async {
            let (sender, mut receiver) = queue(2);
            assert!(sender.enqueue(&[entry(1)]));
            assert!(!sender.enqueue(&[entry(2), entry(3)]));
            assert!(sender.enqueue(&[entry(2)]));
            drop(sender);
            assert_eq!(seqs(&receiver.dequeue().await.unwrap()), [1, 2]);
            assert!(receiver.dequeue().await.is_none());
        });
    }
}
