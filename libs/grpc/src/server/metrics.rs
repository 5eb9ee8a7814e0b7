use std::time::Instant;

use futures::future::BoxFuture;
use opentelemetry::{
    KeyValue, global,
    metrics::{Histogram, UpDownCounter},
};
use tonic::Code;

use crate::step::{Next, RpcRequest, RpcResult, Step};

/// Duration by RPC and code, and calls in flight. Labels come from the descriptors, never from the caller.
pub(crate) struct Metrics {
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
        Self {
            duration: meter
                .f64_histogram(format!("{side}.call.duration"))
                .with_unit("s")
                .build(),
            active: meter.i64_up_down_counter(format!("{side}.active_calls")).build(),
        }
    }
}

/// Decrements the calls in flight and records the duration, however the call ends.
pub(crate) struct InFlight {
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
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
        self.active.add(-1, std::slice::from_ref(&rpc));
        let labels = [
            rpc,
            KeyValue::new("rpc.response.status_code", i64::from(i32::from(code))),
        ];
        self.duration.record(self.start.elapsed().as_secs_f64(), &labels);
    }
}

impl Step for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn call<'a>(&'a self, call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            if call.is_open() {
                return next.run(call).await;
            }
            let rpc = call.rpc();
            self.active.add(1, &[KeyValue::new("rpc.method", rpc)]);
            let (duration, active) = (self.duration.clone(), self.active.clone());
            let in_flight = InFlight {
                duration,
                active,
                rpc,
                start: Instant::now(),
                code: Code::Cancelled,
            };
            match next.run(call).await {
                Ok(mut answer) => {
                    answer.guard.in_flight = Some(in_flight);
                    Ok(answer)
                }
                Err(status) => {
                    in_flight.end(status.code());
                    Err(status)
                }
            }
        })
    }
}
