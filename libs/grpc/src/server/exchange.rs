//! A stream of HTTP/2 from the request to the end of the response, and the task that drives it.
//!
//! The transport takes a frame of a response from its body, and then waits until the client has given it
//! space (flow control). Meanwhile it does not poll the body. A client that never gives space would keep the
//! permit, the subscription and the rights of the response for as long as it likes. The task around the
//! transport sees both: the body notes each frame that it returns, and a task that is pending without
//! having polled the body again is one that waits for the client. Only then it has a timer, and it polls the
//! futures that end the response itself. Dropping the future of the transport resets the stream.
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use pin_project_lite::pin_project;
use tokio::{task::futures::TaskLocalFuture, time::Sleep};
use tokio_util::task::TaskTracker;
use tonic::Status;

/// The time that a client has to take the frame before the end of its response.
const LAST_FRAME: Duration = Duration::from_secs(1);

tokio::task_local! {
    static CURRENT: Arc<Exchange>;
}

/// The part of a stream that its body and its task share. All of it is used by one task.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Twice the number of the frames that the body has returned, plus one while the transport has the last.
    frames: AtomicU64,
    ends: Mutex<Ends>,
}

#[derive(Default)]
struct Ends {
    pending: Vec<BoxFuture<'static, Status>>,
    /// The status of the first that resolved, until the body returns it.
    ended: Option<Status>,
}

impl Exchange {
    /// Returns the exchange whose task is running.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Sets the futures, the first of which to resolve ends the response.
    pub(crate) fn end_with(&self, ends: Vec<BoxFuture<'static, Status>>) {
        self.ends().pending = ends;
    }

    /// Returns whether the response has futures that end it.
    pub(crate) fn can_be_ended(&self) -> bool {
        !self.ends().pending.is_empty()
    }

    /// Returns the status with which the response ends.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Status> {
        let mut ends = self.ends();
        if let Some(status) = &ends.ended {
            return Poll::Ready(status.clone());
        }
        let ended = poll_ends(&mut ends.pending, cx);
        if let Poll::Ready(status) = &ended {
            ends.ended = Some(status.clone());
            // A future that has resolved is not polled again.
            ends.pending.clear();
        }
        ended
    }

    /// Notes that the body was polled, and whether it returned a frame.
    pub(crate) fn polled(&self, frame: bool) {
        let before = self.frames.load(Ordering::Relaxed);
        let count = before & !1;
        let after = if frame { (count + 2) | 1 } else { count };
        self.frames.store(after, Ordering::Relaxed);
    }

    /// Returns the number of the frame that the transport has.
    fn frame_in_transport(&self) -> Option<u64> {
        let frames = self.frames.load(Ordering::Relaxed);
        (frames & 1 == 1).then_some(frames)
    }

    fn ends(&self) -> std::sync::MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Polls futures, and returns the status of the first that resolves.
pub(crate) fn poll_ends(ends: &mut [BoxFuture<'static, Status>], cx: &mut Context<'_>) -> Poll<Status> {
    for end in ends {
        if let Poll::Ready(status) = end.as_mut().poll(cx) {
            return Poll::Ready(status);
        }
    }
    Poll::Pending
}

/// Spawns the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) tracker: TaskTracker,
    /// A response of which the client takes no frame for this time is ended.
    pub(super) stall: Option<Duration>,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let exchange = Arc::new(Exchange::default());
        self.tracker.spawn(Driven {
            stream: CURRENT.scope(exchange.clone(), stream),
            exchange,
            stall: self.stall,
            waiting: None,
        });
    }
}

pin_project! {
    /// The future of a stream. It ends if the client does not take the response.
    struct Driven<F> {
        #[pin]
        stream: TaskLocalFuture<Arc<Exchange>, F>,
        exchange: Arc<Exchange>,
        stall: Option<Duration>,
        waiting: Option<Waiting>,
    }
}

/// The wait for the client to take one frame.
struct Waiting {
    frame: u64,
    ended: bool,
    limit: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Driven<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(frame) = this.exchange.frame_in_transport() else {
            *this.waiting = None;
            return Poll::Pending;
        };
        let ended = this.exchange.poll_ended(cx).is_ready();
        if this
            .waiting
            .as_ref()
            .is_none_or(|w| (w.frame, w.ended) != (frame, ended))
        {
            let limit = if ended { Some(LAST_FRAME) } else { *this.stall };
            let limit = limit.map(|limit| Box::pin(tokio::time::sleep(limit)));
            *this.waiting = Some(Waiting { frame, ended, limit });
        }
        let Some(limit) = this.waiting.as_mut().and_then(|waiting| waiting.limit.as_mut()) else {
            return Poll::Pending;
        };
        limit.as_mut().poll(cx).map(|()| {
            tracing::debug!(ended, "response not read, stream closed");
        })
    }
}
