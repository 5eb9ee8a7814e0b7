use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tonic::Status;
use tower::Service;

use crate::{
    context::CallContext,
    layer::{Layered, RpcService, layer},
    rpc::{RpcRequest, RpcResponse},
    server::deadline::{Timed, grpc_timeout, timed},
};

#[derive(Clone)]
pub(super) struct ClientDeadline {
    pub(super) timeout: Duration,
}

layer!(ClientDeadline, "deadline");

impl<S: RpcService> Service<RpcRequest> for Layered<ClientDeadline, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = Timed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: RpcRequest) -> Self::Future {
        if request.method.is_none_or(|m| m.streaming) {
            return timed(None, self.inner.call(request));
        }
        let headers = request.http.headers_mut();
        let requested = grpc_timeout(headers).unwrap_or(self.layer.timeout);
        let remaining = CallContext::current()
            .deadline
            .map(|d| d.saturating_duration_since(Instant::now()));
        let allowed = remaining.map_or(requested, |r| r.min(requested));
        // The value has at most eight digits: microseconds reach 99 s, milliseconds more than a day.
        let micros = allowed.as_micros();
        let text = if micros < 100_000_000 {
            format!("{micros}u")
        } else {
            format!("{}m", allowed.as_millis().min(99_999_999))
        };
        if let Ok(value) = http::HeaderValue::from_str(&text) {
            headers.insert("grpc-timeout", value);
        }
        timed(Some(allowed), self.inner.call(request))
    }
}
