//! Mistakes in the scraping of metrics, and in alerts.
use serde_json::{Value, json};

use super::Mutation;

/// Each breaks the way from Prometheus to the metrics of the collector, or an alert.
pub(super) fn mutations() -> Vec<Mutation> {
    let all: Vec<(&str, &str, &str, Value)> = vec![
        (
            "ServiceMonitor",
            "otel-collector",
            "/spec/endpoints/0/port",
            json!("metric"),
        ),
        // A port that exists, and offers no metrics.
        (
            "ServiceMonitor",
            "otel-collector",
            "/spec/endpoints/0/port",
            json!("otlp"),
        ),
        (
            "ServiceMonitor",
            "otel-collector",
            "/spec/endpoints/0/honorLabels",
            Value::Null,
        ),
        (
            "ServiceMonitor",
            "otel-collector",
            "/spec/selector/matchLabels/app.kubernetes.io~1name",
            json!("collector"),
        ),
        (
            "ServiceMonitor",
            "otel-collector",
            "/spec/selector/matchLabels",
            json!({"app.kubernetes.io/part-of": "parta"}),
        ),
        (
            "Service",
            "otel-collector",
            "/spec/ports/1/targetPort",
            json!("health"),
        ),
        (
            "NetworkPolicy",
            "otel-collector",
            "/spec/ingress/1/ports/0/port",
            json!(9465),
        ),
        (
            "ConfigMap",
            "otel-collector",
            "/data/config.yaml",
            json!("exporters: {prometheus: {endpoint: \"0.0.0.0:9465\"}}"),
        ),
    ];
    let rule = "metrics are scraped where they are offered";
    let scraping = all
        .into_iter()
        .map(|(kind, name, pointer, value)| ("monitoring", rule, kind, name, pointer.to_owned(), value));
    let rule = "alerts say what to do, and are about metrics";
    let alerts = [
        ("0/labels/severity", json!("urgent")),
        ("0/annotations/summary", Value::Null),
        ("0/annotations/runbook", json!("docs/operations/nowhere.md")),
        ("0/annotations/runbook", json!("k8s/README.md")),
        ("0/expr", json!("parta_feed_years > 1")),
        ("0/expr", json!("up == 0")),
        ("5/expr", json!("absent(parta_jobs_failed{service=\"chat\"})")),
    ];
    let alerts = alerts.into_iter().map(|(rule_path, value)| {
        let pointer = format!("/spec/groups/0/rules/{rule_path}");
        ("monitoring", rule, "PrometheusRule", "parta", pointer, value)
    });
    scraping.chain(alerts).collect()
}
