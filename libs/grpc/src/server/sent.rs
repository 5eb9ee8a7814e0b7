//! The frames of responses that the transport holds.
//!
//! The transport takes a whole frame as soon as the client has space for one byte, and the end of a response
//! with it. The task of the stream then ends, and only the connection holds the rest, which a client need not
//! read. A connection with a frame that was not sent for longer than a stream may stall is closed.
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

/// Counts the frames that one connection holds. Cheap to clone; clones share the counts.
#[derive(Clone, Default)]
pub(super) struct Unsent(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// The period of now, and the frames that were accepted in even and in odd periods.
    period: AtomicUsize,
    frames: [AtomicUsize; 2],
}

impl Counts {
    fn frames_of(&self, period: usize) -> &AtomicUsize {
        let [even, odd] = &self.frames;
        if period.is_multiple_of(2) { even } else { odd }
    }
}

impl Unsent {
    /// Resolves when a frame was held for a whole period.
    pub(super) async fn stalled(&self, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            let now = self.0.period.load(Ordering::Relaxed);
            let next = now.wrapping_add(1);
            // Those of the period before, which had the period that ends here to be sent.
            if self.0.frames_of(next).load(Ordering::Relaxed) > 0 {
                return;
            }
            self.0.period.store(next, Ordering::Relaxed);
        }
    }

    fn frame(&self, bytes: Bytes) -> SentBytes {
        let period = self.0.period.load(Ordering::Relaxed);
        self.0.frames_of(period).fetch_add(1, Ordering::Relaxed);
        SentBytes {
            bytes,
            unsent: self.clone(),
            period,
        }
    }
}

/// The bytes of a frame, which are counted until they are dropped.
pub(super) struct SentBytes {
    bytes: Bytes,
    unsent: Unsent,
    period: usize,
}

impl Buf for SentBytes {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for SentBytes {
    fn drop(&mut self) {
        let counts = &self.unsent.0;
        counts.frames_of(self.period).fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of a response on its way to the transport.
pub(super) struct SentBody {
    inner: Body,
    unsent: Unsent,
}

impl SentBody {
    pub(super) fn new(inner: Body, unsent: Unsent) -> Self {
        Self { inner, unsent }
    }
}

impl http_body::Body for SentBody {
    type Data = SentBytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<SentBytes>, Status>>> {
        let Self { inner, unsent } = self.get_mut();
        let polled = Pin::new(inner).poll_frame(cx);
        polled.map_ok(|frame| frame.map_data(|bytes| unsent.frame(bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
