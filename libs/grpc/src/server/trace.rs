use std::{
    sync::Arc,
    task::{Context, Poll},
};

use opentelemetry::{global, propagation::Extractor, trace::TraceContextExt as _};
use parta_ids::{Env, IdSource};
use parta_proto::Method;
use tonic::Status;
use tower::Service;
use tracing::{Instrument as _, Span, field, instrument::Instrumented};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::trace_slot::TraceSlot;
use crate::{
    context::{CallContext, InContext},
    headers::TRACEPARENT,
    layer::{Layered, OnResponse, ResponseFuture, RpcService, layer},
    rpc::{HttpRequest, RpcRequest, RpcResponse, RpcResult},
    trace_id::TraceId,
};

#[derive(Clone)]
pub(super) struct Trace {
    ids: Arc<dyn IdSource>,
}

impl Trace {
    pub(super) fn new(env: &Env) -> Self {
        Self { ids: env.ids.clone() }
    }

    /// Returns the context of the call and its span, which a health check does not have: it arrives every
    /// second and would flood the log.
    fn begin(&self, request: &RpcRequest) -> (CallContext, Traced) {
        if request.is_open() {
            let (span, method) = (None, None);
            return (CallContext::default(), Traced { span, method });
        }
        let (rpc, method, http) = (request.rpc(), request.method, &request.http);
        let (span, trace) = exported(rpc, http).unwrap_or_else(|| {
            let arrived = http
                .headers()
                .get(&TRACEPARENT)
                .and_then(|value| value.to_str().ok());
            let arrived = arrived.and_then(TraceId::from_traceparent);
            let trace = arrived.unwrap_or_else(|| self.fresh());
            let span = tracing::info_span!("rpc", rpc.method = rpc, trace.id = %trace);
            (span, trace)
        });
        if let Some(slot) = http.extensions().get::<TraceSlot>() {
            // Set once: the slot was created for this call.
            let _first = slot.0.set(trace);
        }
        let context = CallContext {
            trace: Some(trace),
            deadline: None,
        };
        let span = Some(span);
        (context, Traced { span, method })
    }

    fn fresh(&self) -> TraceId {
        let mut bytes = [0; 16];
        self.ids.fill(&mut bytes);
        TraceId(u128::from_be_bytes(bytes).max(1))
    }
}

struct Headers<'a>(&'a http::HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|v| v.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// Returns the span and the trace id of a call if spans are exported, that is, if there is a propagator. A
/// field recorded after the creation of a span makes the log format all of its fields twice.
fn exported(rpc: &'static str, request: &HttpRequest) -> Option<(Span, TraceId)> {
    let parent = global::get_text_map_propagator(|p| {
        p.fields()
            .next()
            .is_some()
            .then(|| p.extract(&Headers(request.headers())))
    })?;
    let span = tracing::info_span!(
        "rpc",
        otel.name = rpc,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.method = rpc,
        trace.id = field::Empty
    );
    span.set_parent(parent).ok()?;
    let trace = span.context().span().span_context().trace_id();
    let trace = TraceId(u128::from_be_bytes(trace.to_bytes()));
    if trace.0 == 0 {
        return None;
    }
    span.record("trace.id", field::display(trace));
    Some((span, trace))
}

layer!(Trace, "trace");

impl<S: RpcService> Service<RpcRequest> for Layered<Trace, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = ResponseFuture<Instrumented<InContext<S::Future>>, Traced>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        let (context, traced) = self.layer.begin(&request);
        let span = traced.span.clone().unwrap_or_else(Span::none);
        let response = span.in_scope(|| context.call(&mut self.inner, request));
        ResponseFuture::new(response.instrument(span), traced)
    }
}

/// The values that the body of the response needs.
pub(crate) struct Traced {
    span: Option<Span>,
    method: Option<&'static Method>,
}

impl OnResponse<RpcResult> for Traced {
    fn on_response(self, result: RpcResult) -> RpcResult {
        let mut response = result?;
        response.guard.span = self.span;
        response.guard.method = self.method;
        Ok(response)
    }
}
