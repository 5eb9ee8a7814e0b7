use std::sync::Arc;

use futures::future::BoxFuture;
use opentelemetry::{global, propagation::Extractor, trace::TraceContextExt as _};
use parta_ids::{Env, IdSource};
use tracing::{Instrument, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::catch_panic::TraceSlot;
use crate::{
    context::{CallContext, TraceId},
    step::{Next, Request, RpcRequest, RpcResult, Step},
};

pub(super) struct Trace {
    ids: Arc<dyn IdSource>,
}

impl Trace {
    pub(super) fn new(env: &Env) -> Self {
        Self { ids: env.ids.clone() }
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
fn exported(rpc: &'static str, request: &Request) -> Option<(tracing::Span, TraceId)> {
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

impl Step for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    fn call<'a>(&'a self, call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            // Health checks arrive every second and would flood the log.
            if call.is_open() {
                return next.run(call).await;
            }
            let (rpc, method, request) = (call.rpc(), call.method, &call.request);
            let (span, trace) = match exported(rpc, request) {
                Some(exported) => exported,
                None => {
                    let arrived = Headers(request.headers())
                        .get("traceparent")
                        .and_then(TraceId::from_traceparent);
                    let trace = arrived.unwrap_or_else(|| self.fresh());
                    (
                        tracing::info_span!("rpc", rpc.method = rpc, trace.id = %trace),
                        trace,
                    )
                }
            };
            if let Some(slot) = request.extensions().get::<TraceSlot>() {
                // Set once: the slot was created for this call.
                let _first = slot.0.set(trace);
            }
            let context = CallContext {
                trace: Some(trace),
                deadline: None,
            };
            let mut answer = context.scope(next.run(call)).instrument(span.clone()).await?;
            answer.guard.span = Some(span);
            answer.guard.method = method;
            Ok(answer)
        })
    }
}
