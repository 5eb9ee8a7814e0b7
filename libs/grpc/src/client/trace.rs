use std::sync::Arc;

use futures::future::BoxFuture;
use opentelemetry::{global, propagation::Injector};
use parta_ids::{Env, IdSource};
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    context::CallContext,
    step::{Next, RpcRequest, RpcResult, Step},
};

pub(super) struct Trace {
    ids: Arc<dyn IdSource>,
}

impl Trace {
    pub(super) fn new(env: &Env) -> Self {
        Self { ids: env.ids.clone() }
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

impl Step for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    fn call<'a>(&'a self, mut call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            let rpc = call.rpc();
            let headers = call.request.headers_mut();
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
            let mut answer = next.run(call).instrument(span.clone()).await?;
            answer.guard.span = Some(span);
            Ok(answer)
        })
    }
}
