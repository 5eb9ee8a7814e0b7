use std::{
    sync::Arc,
    task::{Context, Poll},
};

use opentelemetry::{global, propagation::Injector};
use parta_ids::{Env, IdSource};
use tonic::Status;
use tower::Service;
use tracing::{Instrument as _, Span, instrument::Instrumented};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    context::CallContext,
    layer::{Layered, OnResponse, ResponseFuture, RpcService, layer},
    rpc::{RpcRequest, RpcResponse, RpcResult},
};

#[derive(Clone)]
pub(super) struct Trace {
    ids: Arc<dyn IdSource>,
}

impl Trace {
    pub(super) fn new(env: &Env) -> Self {
        Self { ids: env.ids.clone() }
    }

    /// Returns the span of a call and adds its trace to the headers.
    fn begin(&self, rpc: &'static str, headers: &mut http::HeaderMap) -> Span {
        let span = global::get_text_map_propagator(|p| {
            // Without a propagator, no spans are exported.
            if p.fields().next().is_none() {
                return tracing::info_span!("call", rpc.method = rpc);
            }
            let span = tracing::info_span!(
                "call",
                otel.name = rpc,
                otel.kind = "client",
                rpc.system = "grpc",
                rpc.method = rpc
            );
            p.inject_context(&span.context(), &mut Headers(headers));
            span
        });
        if !headers.contains_key("traceparent") {
            self.carry_on(headers);
        }
        span
    }

    /// Propagates the trace id where no spans are exported, so that the logs of all services can be joined.
    fn carry_on(&self, headers: &mut http::HeaderMap) {
        let mut bytes = [0; 24];
        self.ids.fill(&mut bytes);
        let (trace, span) = bytes.split_at(16);
        let random = trace.iter().fold(0u128, |n, b| n << 8 | u128::from(*b)).max(1);
        let span = span.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)).max(1);
        let trace = CallContext::current().trace.map_or(random, |t| t.0);
        if let Ok(value) = http::HeaderValue::from_str(&format!("00-{trace:032x}-{span:016x}-00")) {
            headers.insert("traceparent", value);
        }
    }
}

struct Headers<'a>(&'a mut http::HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (key.parse::<http::HeaderName>(), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

layer!(Trace, "trace");

impl<S: RpcService> Service<RpcRequest> for Layered<Trace, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = ResponseFuture<Instrumented<S::Future>, Traced>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: RpcRequest) -> Self::Future {
        let span = self.layer.begin(request.rpc(), request.http.headers_mut());
        let response = span.in_scope(|| self.inner.call(request));
        ResponseFuture::new(response.instrument(span.clone()), Traced(span))
    }
}

/// The span, which the body of the response needs.
pub(crate) struct Traced(Span);

impl OnResponse<RpcResult> for Traced {
    fn on_response(self, result: RpcResult) -> RpcResult {
        let mut response = result?;
        response.guard.span = Some(self.0);
        Ok(response)
    }
}
