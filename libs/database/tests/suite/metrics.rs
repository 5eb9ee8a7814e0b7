//! The metrics of stored values that this build does not know, and of rows that work skips.
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

/// Each read of an unknown value is counted by its table and column, without ids and without the value. A
/// skipped row is counted by its table.
#[test]
fn unknown_values_and_skipped_rows_are_counted() {
    let sums = Sums::default();
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(sums.clone())
        .build();
    opentelemetry::global::set_meter_provider(provider.clone());
    for value in [7, 8] {
        let error = StorageError::unknown_value("unit.kind", value);
        assert!(error.to_string().contains("unit.kind"), "{error}");
    }
    parta_database::count_skipped_row("chat");
    provider.force_flush().unwrap();
    let sum = |name: &str, attributes: &[&str], count| {
        let attributes = attributes.iter().copied().map(str::to_owned).collect();
        (name.to_owned(), attributes, count)
    };
    let mut found = sums.0.lock().unwrap().clone();
    found.sort();
    let expected = [
        sum("parta.storage.skipped_rows", &["table=chat"], 1),
        sum("parta.storage.unknown_values", &["column=kind", "table=unit"], 2),
    ];
    assert_eq!(found, expected);
}
