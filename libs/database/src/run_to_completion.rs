//! A future that runs to completion even if its caller drops it.
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;

/// Wraps a future that must not stop halfway. If it is dropped after the first poll, a background task
/// completes it and discards the result.
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
            // Short and bounded by the limits of the connection. If the runtime is shutting down, nothing can
            // be saved.
            #[expect(
                clippy::disallowed_methods,
                reason = "Drop has no tracker; the work is bounded by the connection's limits"
            )]
            runtime.spawn(async move { drop(work.await) });
        }
    }
}
