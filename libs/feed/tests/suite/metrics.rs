//! The metrics of the consumers.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    collections::BTreeMap,
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
use parta_testkit::on_sqlite;

use crate::{
    school::{Roster, add, after_steps, caught_up, consumer, migrations, org, start},
    support::Store,
};

/// Keeps the last value of each gauge by its name and attributes.
#[derive(Clone, Default)]
struct Gauges(Arc<Mutex<BTreeMap<String, f64>>>);

impl PushMetricExporter for Gauges {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut gauges = self.0.lock().unwrap();
        for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
            let points: Vec<_> = match metric.data() {
                AggregatedMetrics::U64(MetricData::Gauge(gauge)) => gauge
                    .data_points()
                    .map(|point| {
                        let value = f64::from(u32::try_from(point.value()).unwrap());
                        (point.attributes().cloned().collect::<Vec<_>>(), value)
                    })
                    .collect(),
                AggregatedMetrics::F64(MetricData::Gauge(gauge)) => gauge
                    .data_points()
                    .map(|point| (point.attributes().cloned().collect::<Vec<_>>(), point.value()))
                    .collect(),
                _ => continue,
            };
            for (attributes, value) in points {
                let mut attributes: Vec<_> = attributes
                    .iter()
                    .map(|a| format!("{}={}", a.key, a.value.as_str()))
                    .collect();
                attributes.sort();
                gauges.insert(format!("{} {}", metric.name(), attributes.join(",")), value);
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

// The operator sees how many organizations are behind and quarantined, the age of the oldest data, and that
// no further organization is quarantined. A healthy consumer shows zeros.
on_sqlite!(
    gauges_show_lag_quarantine_and_breaker,
    "the numbers come from memory",
    |database| async move {
        for expected in [
            "organization quarantined",
            "replacing a projection by a snapshot",
            "none is quarantined",
        ] {
            parta_testkit::logs().allow(expected);
        }
        let gauges = Gauges::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(gauges.clone())
            .build();
        opentelemetry::global::set_meter_provider(provider.clone());
        let store = Store::open(&database, migrations()).await;
        let (db, roster) = (&store.db, Roster::default());
        let consumer = consumer(db, db, &roster);
        parta_feed::observe(db);
        let value = |name: &str| {
            provider.force_flush().unwrap();
            let key = format!("{name} consumer=test.roster,service=test,source=org-registry");
            gauges.0.lock().unwrap().get(&key).copied()
        };
        assert_eq!(value("parta.feed.age"), None, "no heartbeat has arrived");
        add(db, org(1), "a", "good").await;
        let running = start(&consumer);
        consumer.freshness().completed().await;
        caught_up(db, &consumer, &[1]).await;
        for name in [
            "parta.feed.organizations_behind",
            "parta.feed.organizations_quarantined",
            "parta.feed.breaker_open",
        ] {
            assert_eq!(value(name), Some(0.0), "{name}");
        }
        assert!(value("parta.feed.age").is_some_and(|age| age < 15.0));

        roster.poison.lock().unwrap().insert("poison".into());
        for n in 2..=7 {
            add(db, org(n), "a", "poison").await;
        }
        // Four are quarantined; the fifth is the sign of a common cause.
        after_steps(&consumer, async || {
            (value("parta.feed.breaker_open") == Some(1.0)).then_some(())
        })
        .await;
        after_steps(&consumer, async || {
            let quarantined = value("parta.feed.organizations_quarantined");
            (quarantined == Some(4.0)).then_some(())
        })
        .await;
        assert_eq!(value("parta.feed.organizations_behind"), Some(6.0));
        running.stop().await;
        provider.shutdown().unwrap();
    }
);
