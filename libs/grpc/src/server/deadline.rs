use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{
    FutureExt as _,
    future::{Either, Map},
};
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use tokio::time::{Timeout, error::Elapsed};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::Service;

use crate::{
    context::{CallContext, InContext},
    headers::GRPC_TIMEOUT,
    layer::{Layered, OnResponse, ResponseFuture, RpcService, layer},
    rpc::{RpcRequest, RpcResponse, RpcResult},
};

/// The deadline of a unary call without a timeout.
const DEFAULT: Duration = Duration::from_secs(30);
/// The longest deadline of a unary call, so that a client cannot hold its permit for longer.
const MAX: Duration = Duration::from_secs(60);

/// Replies shortly before the deadline of the caller, whose own timer returns no reason. Streams have no
/// deadline, but end when the server drains, so that their clients resume elsewhere.
#[derive(Clone)]
pub(super) struct ServerDeadline {
    /// Shared, because a clone of the token takes a lock.
    draining: Arc<CancellationToken>,
}

impl ServerDeadline {
    pub(super) fn new(draining: CancellationToken) -> Self {
        let draining = Arc::new(draining);
        Self { draining }
    }
}

layer!(ServerDeadline, "deadline");

impl<S: RpcService> Service<RpcRequest> for Layered<ServerDeadline, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = ResponseFuture<Timed<InContext<S::Future>>, Draining>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        let streaming = request.method.is_none_or(|m| m.streaming);
        let allowed = allowed(grpc_timeout(request.http.headers()), streaming);
        let mut context = CallContext::current();
        if let Some(allowed) = allowed {
            context.deadline = Instant::now().checked_add(allowed);
        }
        let response = timed(allowed, context.call(&mut self.inner, request));
        let draining = streaming.then(|| self.layer.draining.clone());
        ResponseFuture::new(response, Draining(draining))
    }
}

/// Ends a stream when the server drains; `None` for unary calls.
pub(crate) struct Draining(Option<Arc<CancellationToken>>);

impl OnResponse<RpcResult> for Draining {
    fn on_response(self, result: RpcResult) -> RpcResult {
        let mut response = result?;
        if let Some(draining) = self.0 {
            let draining = CancellationToken::clone(&draining).cancelled_owned();
            response.guard.ends.push(Box::pin(async move {
                draining.await;
                not_serving()
            }));
        }
        Ok(response)
    }
}

/// A future that ends with DEADLINE_EXCEEDED after a time, if it has one.
pub(crate) type Timed<F> = Either<F, Map<Timeout<F>, fn(Result<RpcResult, Elapsed>) -> RpcResult>>;

pub(crate) fn timed<F: Future<Output = RpcResult>>(allowed: Option<Duration>, future: F) -> Timed<F> {
    match allowed {
        None => Either::Left(future),
        Some(allowed) => {
            let timeout = tokio::time::timeout(allowed, future);
            Either::Right(timeout.map(|result| result.unwrap_or_else(|_| Err(exceeded()))))
        }
    }
}

pub(crate) fn exceeded() -> Status {
    RpcError::new(
        ErrorReason::DeadlineExceeded,
        "The deadline of the call has passed. Request again with a longer timeout.",
    )
    .into()
}

pub(crate) fn not_serving() -> Status {
    parta_status::not_serving().into()
}

/// Returns the time that a call may take: `None` for a stream without a timeout.
fn allowed(requested: Option<Duration>, streaming: bool) -> Option<Duration> {
    let requested = requested.map(earlier);
    if streaming {
        return requested;
    }
    Some(requested.unwrap_or(DEFAULT).min(MAX))
}

/// Returns the timeout reduced by a twentieth: by at least 2 ms and at most 100 ms, but never by more than
/// half.
fn earlier(requested: Duration) -> Duration {
    let margin = (requested / 20).clamp(Duration::from_millis(2), Duration::from_millis(100));
    requested - margin.min(requested / 2)
}

/// Parses `grpc-timeout`: up to eight digits and a unit, as in the gRPC wire specification.
pub(crate) fn grpc_timeout(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get(&GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_replies_before_every_caller_timeout() {
        for nanos in [1, 1_000, 3_000_000, 50_000_000, 1_000_000_000, 3_600_000_000_000] {
            let requested = Duration::from_nanos(nanos);
            assert!(earlier(requested) < requested || requested < Duration::from_nanos(2));
            assert!(earlier(requested) >= requested / 2);
        }
    }

    #[test]
    fn client_cannot_make_a_unary_call_last() {
        let forever = Duration::from_secs(99_999_999 * 3600);
        assert_eq!(allowed(Some(forever), false), Some(MAX));
        assert_eq!(allowed(None, false), Some(DEFAULT));
        assert_eq!(allowed(Some(DEFAULT), false), Some(earlier(DEFAULT)));
        // A stream lasts as long as its credential and its client.
        assert_eq!(allowed(Some(forever), true), Some(earlier(forever)));
        assert_eq!(allowed(None, true), None);
    }

    #[test]
    fn timeouts_follow_the_wire_specification() {
        let read = |text: &'static str| {
            let mut headers = http::HeaderMap::new();
            headers.insert("grpc-timeout", http::HeaderValue::from_static(text));
            grpc_timeout(&headers)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("99999999S"), Some(Duration::from_secs(99_999_999)));
        for bad in ["", "S", "123456789S", "-1S", "1x", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
