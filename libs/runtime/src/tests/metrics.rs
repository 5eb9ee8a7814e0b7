//! The metric of durable jobs.
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
use parta_access::Secrets;
use parta_database::{DatabaseConfig, Db, StorageError};
use parta_feed::{Bus, LocalBus};
use parta_ids::Env;
use parta_testkit::on_both;
use tokio_util::sync::CancellationToken;

/// Keeps the last exported number of failed jobs, with its attributes.
#[derive(Clone, Default)]
struct FailedJobs(Arc<Mutex<Vec<(String, u64)>>>);

impl PushMetricExporter for FailedJobs {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
            if let ("parta.jobs.failed", AggregatedMetrics::U64(MetricData::Gauge(gauge))) =
                (metric.name(), metric.data())
            {
                let points = gauge.data_points().map(|point| {
                    let attributes = point
                        .attributes()
                        .map(|a| format!("{}={}", a.key, a.value.as_str()));
                    (attributes.collect(), point.value())
                });
                *self.0.lock().unwrap() = points.collect();
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

// Jobs that nothing but the operator repeats are counted; waiting ones are not.
on_both!(failed_jobs_are_counted, |database| async move {
    let failed = FailedJobs::default();
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(failed.clone())
        .build();
    opentelemetry::global::set_meter_provider(provider.clone());
    let config = DatabaseConfig::new(database.url());
    let db = Db::connect(&config, "test", Secrets::new([7; 32]), Env::system())
        .await
        .unwrap();
    db.migrate(crate::migrations(Vec::new())).await.unwrap();
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::single_replica());
    let tasks = crate::maintenance("test", &db, &bus);
    let task = tasks
        .iter()
        .find(|task| task.name == "test.count_failed_jobs")
        .unwrap();
    // A canceled task runs once.
    let canceled = CancellationToken::new();
    canceled.cancel();
    let count = async || {
        task.run(canceled.clone()).await.unwrap();
        provider.force_flush().unwrap();
        failed.0.lock().unwrap().clone()
    };
    assert_eq!(count().await, [("service=test".to_owned(), 0)]);
    let enqueued: Result<(), StorageError> = db
        .write(|tx| async move {
            for _ in 0..3 {
                parta_jobs::enqueue(&tx, "test.job", None, Vec::new(), tx.env().ids.uuid()).await?;
            }
            let sql = "UPDATE job SET due_time = NULL WHERE job_id IN (SELECT job_id FROM job LIMIT 2)";
            tx.execute_sql(sql, []).await?;
            Ok(())
        })
        .await;
    enqueued.unwrap();
    assert_eq!(count().await, [("service=test".to_owned(), 2)]);
    provider.shutdown().unwrap();
    db.close().await;
});
