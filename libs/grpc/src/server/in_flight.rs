//! The calls in flight and the durations of calls. Labels come from the descriptors, never from the caller.
use std::{sync::Arc, time::Instant};

use opentelemetry::{
    KeyValue, global,
    metrics::{Histogram, UpDownCounter},
};
use tonic::Code;

/// The instruments of one side of the calls.
pub(super) struct Instruments {
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
}

impl Instruments {
    /// `side` is the prefix of the metrics' names.
    pub(super) fn new(side: &str) -> Self {
        let meter = global::meter("parta");
        Self {
            duration: meter
                .f64_histogram(format!("{side}.call.duration"))
                .with_unit("s")
                .build(),
            active: meter.i64_up_down_counter(format!("{side}.active_calls")).build(),
        }
    }

    pub(super) fn begin(self: &Arc<Self>, rpc: &'static str) -> InFlight {
        self.active.add(1, &[KeyValue::new("rpc.method", rpc)]);
        InFlight {
            instruments: self.clone(),
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
