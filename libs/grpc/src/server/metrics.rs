use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use opentelemetry::{
    KeyValue, global,
    metrics::{Histogram, UpDownCounter},
};
use tonic::{Code, Status};
use tower::Service;

use crate::{
    layer::{Layered, OnResponse, ResponseFuture, RpcService, layer},
    rpc::{RpcRequest, RpcResponse, RpcResult},
};

/// Duration by RPC and code, and calls in flight. Labels come from the descriptors, never from the caller.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Instruments>);

struct Instruments {
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
}

impl Metrics {
    pub(crate) fn server() -> Self {
        Self::new("rpc.server")
    }

    pub(crate) fn client() -> Self {
        Self::new("rpc.client")
    }

    fn new(side: &str) -> Self {
        let meter = global::meter("parta");
        Self(Arc::new(Instruments {
            duration: meter
                .f64_histogram(format!("{side}.call.duration"))
                .with_unit("s")
                .build(),
            active: meter.i64_up_down_counter(format!("{side}.active_calls")).build(),
        }))
    }

    fn begin(&self, rpc: &'static str) -> InFlight {
        self.0.active.add(1, &[KeyValue::new("rpc.method", rpc)]);
        InFlight {
            instruments: self.0.clone(),
            rpc,
            start: Instant::now(),
            code: Code::Cancelled,
        }
    }
}

/// Decrements the calls in flight and records the duration, however the call ends.
pub(crate) struct InFlight {
    instruments: Arc<Instruments>,
    rpc: &'static str,
    start: Instant,
    code: Code,
}

impl InFlight {
    pub(crate) fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let code = if std::thread::panicking() {
            Code::Internal
        } else {
            self.code
        };
        let rpc = KeyValue::new("rpc.method", self.rpc);
        self.instruments.active.add(-1, std::slice::from_ref(&rpc));
        let labels = [
            rpc,
            KeyValue::new("rpc.response.status_code", i64::from(i32::from(code))),
        ];
        let seconds = self.start.elapsed().as_secs_f64();
        self.instruments.duration.record(seconds, &labels);
    }
}

layer!(Metrics, "metrics");

impl<S: RpcService> Service<RpcRequest> for Layered<Metrics, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = ResponseFuture<S::Future, Option<InFlight>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        // Health checks are not counted.
        let in_flight = (!request.is_open()).then(|| self.layer.begin(request.rpc()));
        ResponseFuture::new(self.inner.call(request), in_flight)
    }
}

impl OnResponse<RpcResult> for Option<InFlight> {
    fn on_response(self, result: RpcResult) -> RpcResult {
        match result {
            Ok(mut response) => {
                response.guard.in_flight = self;
                Ok(response)
            }
            Err(status) => {
                if let Some(in_flight) = self {
                    in_flight.end(status.code());
                }
                Err(status)
            }
        }
    }
}
