use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::LiveEntry;

/// What waits for one stream. Ten thousand of these wait all day, so an empty one holds no room for entries.
#[derive(Default)]
struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<LiveEntry>>,
    closed: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where entries are put in; dropped, it ends the queue.
pub(super) struct QueueSender {
    queue: Arc<Queue>,
    limit: usize,
}

/// Where entries come out.
pub(super) struct QueueReceiver(Arc<Queue>);

/// A queue of at most so many entries.
pub(super) fn queue(limit: usize) -> (QueueSender, QueueReceiver) {
    let queue = Arc::<Queue>::default();
    let outlet = QueueSender {
        queue: queue.clone(),
        limit,
    };
    (outlet, QueueReceiver(queue))
}

impl QueueSender {
    /// Puts entries in; false where there is no room for all of them.
    pub(super) fn put(&self, entries: &[Arc<LiveEntry>]) -> bool {
        let mut state = self.queue.lock();
        if state.waiting.len() + entries.len() > self.limit {
            return false;
        }
        state.waiting.extend(entries.iter().cloned());
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
    /// All that waits, in the order in which it was put in; none once the queue has ended and is empty.
    pub(super) async fn dequeue(&mut self) -> Option<VecDeque<Arc<LiveEntry>>> {
        std::future::poll_fn(|context| self.poll_take(context)).await
    }

    fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Option<VecDeque<Arc<LiveEntry>>>> {
        let mut state = self.0.lock();
        if !state.waiting.is_empty() {
            return Poll::Ready(Some(mem::take(&mut state.waiting)));
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
            kind: LiveKind::Message,
            response: Response::encoded(Bytes::new()),
        })
    }

    fn places(entries: &VecDeque<Arc<LiveEntry>>) -> Vec<i64> {
        entries.iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn entries_come_out_in_order_and_wake_whoever_waits() {
        parta_testkit::run(async {
            let (outlet, mut inlet) = queue(1_000);
            let read = async {
                let mut seen = Vec::new();
                while let Some(entries) = inlet.dequeue().await {
                    seen.extend(places(&entries));
                }
                seen
            };
            let write = async move {
                for seq in 0..500 {
                    assert!(outlet.put(&[entry(seq * 2), entry(seq * 2 + 1)]));
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
    fn what_has_no_room_is_refused_and_what_waits_stays() {
        parta_testkit::run(async {
            let (outlet, mut inlet) = queue(2);
            assert!(outlet.put(&[entry(1)]));
            assert!(!outlet.put(&[entry(2), entry(3)]));
            assert!(outlet.put(&[entry(2)]));
            drop(outlet);
            assert_eq!(places(&inlet.dequeue().await.unwrap()), [1, 2]);
            assert!(inlet.dequeue().await.is_none());
        });
    }
}
