use std::sync::Arc;

use futures::future::BoxFuture;
use opentelemetry::{global, propagation::Extractor, trace::TraceContextExt as _};
use parta_ids::{Ambient, IdSource};
use tonic::body::Body;
use tracing::{Instrument, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::catch_panic::TraceSlot;
use crate::{
    body,
    context::{CallContext, TraceId},
    methods,
    step::{Next, Outcome, Request, Step},
};

pub(super) struct Trace {
    ids: Arc<dyn IdSource>,
}

impl Trace {
    pub(super) fn new(ambient: &Ambient) -> Self {
        Self {
            ids: ambient.ids.clone(),
        }
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

impl Step for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    fn call<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            // Health checks come every second and would bury everything else.
            if methods::is_open(request.uri().path()) {
                return next.run(request).await;
            }
            // A path nobody knows is the caller's text and stays out of the name.
            let rpc =
                methods::find(request.uri().path()).map_or("unknown", |m| m.path.trim_start_matches('/'));
            let span = tracing::info_span!(
                "rpc",
                otel.name = rpc,
                otel.kind = "server",
                rpc.system = "grpc",
                rpc.method = rpc,
                trace.id = field::Empty
            );
            let parent = global::get_text_map_propagator(|p| p.extract(&Headers(request.headers())));
            // Fails only where no exporter is set up, and then there is nobody to tell.
            let _unexported = span.set_parent(parent);
            let exported = span.context().span().span_context().trace_id();
            let exported = TraceId(u128::from_be_bytes(exported.to_bytes()));
            let arrived = Headers(request.headers())
                .get("traceparent")
                .and_then(TraceId::from_traceparent);
            let trace = Some(exported)
                .filter(|t| t.0 != 0)
                .or(arrived)
                .unwrap_or_else(|| self.fresh());
            span.record("trace.id", field::display(trace));
            if let Some(slot) = request.extensions().get::<TraceSlot>() {
                // Set once: the slot was made for this call.
                let _first = slot.0.set(trace);
            }
            let context = CallContext {
                trace: Some(trace),
                deadline: None,
            };
            let outcome = context.scope(next.run(request)).instrument(span.clone()).await;
            outcome.map(|response| response.map(|inner| Body::new(body::InSpan { inner, span })))
        })
    }
}
