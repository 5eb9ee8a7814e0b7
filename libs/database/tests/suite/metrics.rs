//! The metric of stored values that this build does not know.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        SdkMeterProvider, Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics},
        exporter::PushMetricExporter,
    },
};
use parta_database::StorageError;

/// The name of a metric, its attributes and its value.
type Sum = (String, Vec<String>, u64);

/// Keeps the exported sums.
#[derive(Clone, Default)]
struct Sums(Arc<Mutex<Vec<Sum>>>);

impl PushMetricExporter for Sums {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut sums = self.0.lock().unwrap();
        for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else {
                continue;
            };
            for point in sum.data_points() {
                let attributes = point
                    .attributes()
                    .map(|a| format!("{}={}", a.key, a.value.as_str()));
                let mut attributes: Vec<_> = attributes.collect();
                attributes.sort();
                sums.push((metric.name().to_owned(), attributes, point.value()));
            }
        }
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

/// Each read of an unknown value is counted by its table and column, without ids and without the value.
#[test]
fn unknown_values_are_counted_by_column() {
    let sums = Sums::default();
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(sums.clone())
        .build();
    opentelemetry::global::set_meter_provider(provider.clone());
    for value in [7, 8] {
        let error = StorageError::unknown_value("unit.kind", value);
        assert!(error.to_string().contains("unit.kind"), "{error}");
    }
    provider.force_flush().unwrap();
    let attributes = vec!["column=kind".to_owned(), "table=unit".to_owned()];
    let expected = ("parta.storage.unknown_values".to_owned(), attributes, 2);
    assert_eq!(*sums.0.lock().unwrap(), [expected]);
}
