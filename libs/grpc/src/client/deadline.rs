use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::{
    context::CallContext,
    server::deadline::{exceeded, grpc_timeout},
    step::{Next, RpcRequest, RpcResult, Step},
};

pub(super) struct ClientDeadline {
    pub(super) timeout: Duration,
}

impl Step for ClientDeadline {
    fn name(&self) -> &'static str {
        "deadline"
    }

    fn call<'a>(&'a self, mut call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            if call.method.is_none_or(|m| m.streaming) {
                return next.run(call).await;
            }
            let asked = grpc_timeout(call.request.headers()).unwrap_or(self.timeout);
            let remaining = CallContext::current()
                .deadline
                .map(|d| d.saturating_duration_since(Instant::now()));
            let allowed = remaining.map_or(asked, |r| r.min(asked));
            // The value has at most eight digits: microseconds reach 99 s, milliseconds more than a day.
            let micros = allowed.as_micros();
            let text = if micros < 100_000_000 {
                format!("{micros}u")
            } else {
                format!("{}m", allowed.as_millis().min(99_999_999))
            };
            if let Ok(value) = http::HeaderValue::from_str(&text) {
                call.request.headers_mut().insert("grpc-timeout", value);
            }
            match tokio::time::timeout(allowed, next.run(call)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(exceeded()),
            }
        })
    }
}
