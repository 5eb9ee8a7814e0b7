//! The scraping of metrics, and alerts.
use std::collections::BTreeSet;

use serde_json::Value;

use super::{failing, network, port_of, text};
use crate::k8s::{
    facts::Facts,
    manifests::{Manifests, containers, items, selects},
};

/// The collector offers metrics on the port that is scraped, under the names of their services, and its
/// policy admits Prometheus.
pub(super) fn scraped(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let settings = manifests.find("ConfigMap", "otel-collector");
    let settings = settings.map_or("", |map| text(&map["data"]["config.yaml"]));
    let settings: Value = serde_saphyr::from_str(settings).unwrap_or_default();
    let offered = port_of(text(&settings["exporters"]["prometheus"]["endpoint"]));
    failing(manifests.of("ServiceMonitor"), |monitor| {
        let selector = &monitor["spec"]["selector"]["matchLabels"];
        let services: Vec<&Value> = manifests
            .of("Service")
            .filter(|service| selects(selector, &service["metadata"]["labels"]))
            .collect();
        let endpoints: Vec<&Value> = items(&monitor["spec"]["endpoints"]).collect();
        let ([service], [endpoint]) = (services.as_slice(), endpoints.as_slice()) else {
            return false;
        };
        let mut ports = items(&service["spec"]["ports"]);
        let Some(port) = ports.find(|port| port["name"] == endpoint["port"]) else {
            return false;
        };
        endpoint["honorLabels"] == true
            && manifests
                .workloads()
                .filter(|workload| {
                    let labels = &workload["spec"]["template"]["metadata"]["labels"];
                    selects(&service["spec"]["selector"], labels)
                })
                .any(|workload| {
                    let listens = containers(workload)
                        .flat_map(|container| items(&container["ports"]))
                        .find(|listens| listens["name"] == port["targetPort"])
                        .and_then(|listens| listens["containerPort"].as_u64());
                    let admits = network::policy(manifests, workload).is_some_and(|policy| {
                        items(&policy["spec"]["ingress"])
                            .flat_map(|rule| items(&rule["ports"]))
                            .any(|admitted| admitted["port"].as_u64() == listens)
                    });
                    listens.is_some() && listens == offered && admits
                })
    })
}

/// The endings that Prometheus and the collector add to the name of a metric.
const ENDINGS: [&str; 6] = [
    "",
    "_seconds",
    "_seconds_count",
    "_seconds_sum",
    "_seconds_bucket",
    "_total",
];

/// Each alert has a severity, a sentence, and a document of this repository that says what to do. Its metrics
/// are documented, and the silence of each service is an alert.
pub(super) fn alerts(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let (mut found, mut watched) = (Vec::new(), BTreeSet::new());
    let rules = manifests
        .of("PrometheusRule")
        .flat_map(|object| items(&object["spec"]["groups"]))
        .flat_map(|group| items(&group["rules"]));
    for rule in rules {
        let (alert, expression) = (text(&rule["alert"]), text(&rule["expr"]));
        let runbook = text(&rule["annotations"]["runbook"]);
        let severity = text(&rule["labels"]["severity"]);
        if !["critical", "warning"].contains(&severity)
            || text(&rule["annotations"]["summary"]).is_empty()
            || !runbook.starts_with("docs/")
            || !crate::root().join(runbook).is_file()
        {
            found.push(format!(
                "{alert} has severity {severity:?} and runbook {runbook:?}"
            ));
        }
        let words = expression.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let metrics: Vec<&str> = words
            .filter(|word| {
                word.starts_with("parta_") || word.starts_with("rpc_server") || word.starts_with("rpc_client")
            })
            .collect();
        let documented = |metric: &&str| {
            ENDINGS.iter().any(|ending| {
                let name = metric.strip_suffix(ending);
                name.is_some_and(|name| facts.metrics.contains(name))
            })
        };
        if metrics.is_empty() || !metrics.iter().all(documented) {
            found.push(format!("{alert} is about {metrics:?}"));
        }
        if expression.contains("absent(") {
            let silent = facts
                .services
                .iter()
                .filter(|service| expression.contains(&format!("service=\"{service}\"")));
            watched.extend(silent);
        }
    }
    if manifests.of("PrometheusRule").next().is_some() && watched.len() != facts.services.len() {
        found.push(format!("the silence of {watched:?} only is an alert"));
    }
    found
}
