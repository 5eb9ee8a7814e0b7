use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        SdkMeterProvider, Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics},
        exporter::PushMetricExporter,
    },
};

/// Sums and gauges by name and attributes. The counts of a test are small, so that a float is exact.
type Values = BTreeMap<String, f64>;

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Values>>);

fn key<'a>(name: &str, attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let attributes = attributes.map(|a| format!("{}={}", a.key, a.value.as_str()));
    let mut attributes: Vec<_> = attributes.collect();
    attributes.sort();
    format!("{name} {}", attributes.join(","))
}

fn read(name: &str, data: &AggregatedMetrics) -> Values {
    match data {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            let points = sum.data_points();
            points
                .map(|point| (key(name, point.attributes()), point.value() as f64))
                .collect()
        }
        AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
            let points = gauge.data_points();
            points
                .map(|point| (key(name, point.attributes()), point.value() as f64))
                .collect()
        }
        AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
            let points = gauge.data_points();
            points
                .map(|point| (key(name, point.attributes()), point.value()))
                .collect()
        }
        _ => Values::new(),
    }
}

impl PushMetricExporter for Recorder {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let all = metrics.scope_metrics().flat_map(ScopeMetrics::metrics);
        let values = all.flat_map(|metric| read(metric.name(), metric.data()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = values.collect();
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// The metrics of the process. Each test has a process of its own.
pub struct Metrics {
    provider: SdkMeterProvider,
    recorder: Recorder,
}

impl Metrics {
    /// Records all metrics from now on. An instrument that was made before is not recorded.
    #[must_use]
    pub fn record() -> Self {
        let recorder = Recorder::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(recorder.clone())
            .build();
        opentelemetry::global::set_meter_provider(provider.clone());
        Self { provider, recorder }
    }

    /// Returns the value of a sum or gauge, `name key=value,key=value` with the attributes in alphabetical
    /// order; `None` if it was not recorded.
    pub fn value(&self, key: &str) -> Option<f64> {
        self.values().get(key).copied()
    }

    /// Returns the sums and gauges whose name begins with `prefix`, each as `name key=value,key=value value`.
    pub fn lines(&self, prefix: &str) -> Vec<String> {
        let values = self.values().into_iter();
        let values = values.filter(|(key, _)| key.starts_with(prefix));
        values.map(|(key, value)| format!("{key} {value}")).collect()
    }

    fn values(&self) -> Values {
        self.provider.force_flush().expect("the metrics are exported");
        let values = self.recorder.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.clone()
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        // The result is that of the recorder, which has nothing to send.
        _ = self.provider.shutdown();
    }
}
