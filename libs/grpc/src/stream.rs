//! Ends streams when their credential expires or the server drains. The layers end every stream on both; a
//! service uses these functions if it must observe the end itself.
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _, stream};
use parta_access::Caller;
use parta_ids::Clock;
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::server::deadline::not_serving;

/// Ends `stream` with CREDENTIAL_EXPIRED when the token that opened it expires.
pub fn until_credential_ends<S, T>(
    stream: S,
    caller: &Caller,
    clock: Arc<dyn Clock>,
) -> impl Stream<Item = Result<T, Status>> + Send + use<S, T>
where
    S: Stream<Item = Result<T, Status>> + Send,
    T: Send,
{
    let end = caller.expire_time;
    let expired = async move { credential_end(end, clock.as_ref()).await };
    end_with(stream, expired, credential_expired)
}

/// Ends `stream` with NOT_SERVING when the server drains, so that the client resumes elsewhere.
pub fn until_shutdown<S, T>(
    stream: S,
    draining: CancellationToken,
) -> impl Stream<Item = Result<T, Status>> + Send + use<S, T>
where
    S: Stream<Item = Result<T, Status>> + Send,
    T: Send,
{
    end_with(stream, draining.cancelled_owned(), not_serving)
}

fn end_with<S, T>(
    stream: S,
    end: impl Future<Output = ()> + Send,
    status: fn() -> Status,
) -> impl Stream<Item = Result<T, Status>> + Send
where
    S: Stream<Item = Result<T, Status>> + Send,
    T: Send,
{
    let last = stream::once(async move { Err(status()) });
    // A stream that ends by itself must end without the status, which `take_until` alone would still append.
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let by_itself = ended.clone();
    let marked = stream.map(Some).chain(stream::once(async move {
        by_itself.store(true, std::sync::atomic::Ordering::Relaxed);
        None
    }));
    let last = last.filter(move |_| {
        let ended = ended.load(std::sync::atomic::Ordering::Relaxed);
        async move { !ended }
    });
    marked
        .take_until(end)
        .filter_map(|item| async move { item })
        .chain(last)
}

pub(crate) fn credential_expired() -> Status {
    RpcError::new(
        ErrorReason::CredentialExpired,
        "The credential of this stream has expired. Refresh it and open the stream again.",
    )
    .into()
}

pub(crate) async fn credential_end(end: Option<DateTime<Utc>>, clock: &dyn Clock) {
    match end {
        Some(end) => wait_until(end, clock).await,
        None => std::future::pending().await,
    }
}

/// Timers use monotonic time, so the wall clock is read again at least once a minute.
async fn wait_until(end: DateTime<Utc>, clock: &dyn Clock) {
    while let Ok(left) = (end - clock.now()).to_std() {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(Duration::from_secs(60))).await;
    }
}
