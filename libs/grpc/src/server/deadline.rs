use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parta_proto::parta::status::v1::ErrorReason;
use parta_status::RpcError;
use tokio_util::sync::CancellationToken;

use crate::{
    context::CallContext,
    step::{Next, RpcRequest, RpcResult, Step},
};

/// The deadline of a unary call without a timeout.
const DEFAULT: Duration = Duration::from_secs(30);

/// Replies before the outer timer of tonic, which returns CANCELLED without a reason. Streams have no
/// deadline, but end when the server drains, so that their clients resume elsewhere.
pub(super) struct ServerDeadline {
    pub(super) draining: CancellationToken,
}

impl Step for ServerDeadline {
    fn name(&self) -> &'static str {
        "deadline"
    }

    fn call<'a>(&'a self, call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            let streaming = call.method.is_none_or(|m| m.streaming);
            let asked = grpc_timeout(call.request.headers()).map(earlier);
            let outcome = match asked.or((!streaming).then_some(DEFAULT)) {
                None => next.run(call).await,
                Some(allowed) => {
                    let deadline = Instant::now().checked_add(allowed);
                    let context = CallContext {
                        deadline,
                        ..CallContext::current()
                    };
                    let answer = tokio::time::timeout(allowed, context.scope(next.run(call))).await;
                    answer.unwrap_or_else(|_| Err(exceeded()))
                }
            };
            if !streaming {
                return outcome;
            }
            let draining = self.draining.clone().cancelled_owned();
            let end = async move {
                draining.await;
                not_serving()
            };
            outcome.map(|mut answer| {
                answer.guard.ends.push(Box::pin(end));
                answer
            })
        })
    }
}

pub(crate) fn exceeded() -> tonic::Status {
    RpcError::new(
        ErrorReason::DeadlineExceeded,
        "The deadline of the call has passed. RpcRequest again with a longer timeout.",
    )
    .into()
}

pub(crate) fn not_serving() -> tonic::Status {
    let refusal = RpcError::new(
        ErrorReason::NotServing,
        "The server is stopping. Try again in a moment.",
    );
    refusal.retry_after(Duration::from_secs(1)).into()
}

/// Returns the timeout reduced by a twentieth: by at least 2 ms and at most 100 ms, but never by more than
/// half.
fn earlier(asked: Duration) -> Duration {
    let margin = (asked / 20).clamp(Duration::from_millis(2), Duration::from_millis(100));
    asked - margin.min(asked / 2)
}

/// Parses `grpc-timeout`: up to eight digits and a unit, as in the gRPC wire specification.
pub(crate) fn grpc_timeout(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
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
            let asked = Duration::from_nanos(nanos);
            assert!(earlier(asked) < asked || asked < Duration::from_nanos(2));
            assert!(earlier(asked) >= asked / 2);
        }
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
