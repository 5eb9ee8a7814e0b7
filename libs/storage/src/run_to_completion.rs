//! A future that is carried to its end though whoever waits for it goes away.
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;

/// Wraps what must not be left half done. Where it is dropped after it began, a task of the runtime ends it and drops what
/// comes of it.
pub(crate) struct RunToCompletion<T: Send + 'static> {
    work: Option<BoxFuture<'static, T>>,
    begun: bool,
}

impl<T: Send + 'static> RunToCompletion<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            work: Some(Box::pin(work)),
            begun: false,
        }
    }
}

impl<T: Send + 'static> Future for RunToCompletion<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let Some(work) = &mut self.work else {
            return Poll::Pending;
        };
        let done = work.as_mut().poll(cx);
        if done.is_ready() {
            self.work = None;
        }
        done
    }
}

impl<T: Send + 'static> Drop for RunToCompletion<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take().filter(|_| self.begun)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Short, and bounded by the limits of the connection; while the runtime ends there is nothing to save.
            #[expect(
                clippy::disallowed_methods,
                reason = "Drop has no tracker; the work is bounded by the connection's limits"
            )]
            runtime.spawn(async move { drop(work.await) });
        }
    }
}
