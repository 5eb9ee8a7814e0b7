//! Rules that the schemas of Kubernetes do not know. Each is proved by a change that only it finds
//! (tests).
mod addresses;
mod monitoring;
mod network;
mod objects;
mod parts;
mod pods;
mod secrets;

use serde_json::Value;

use super::{
    facts::Facts,
    manifests::{Manifests, items, name, pod},
};
pub(crate) use pods::{chosen_ids, single};
pub(crate) use secrets::is_secret;

/// The name of the pod with all services, and of the settings that all pods share.
const ALL: &str = "parta";

/// The variable that names the certificate of the listener, and the one that names its key.
const CERTIFICATE: &str = "PARTA__SERVER__TLS_CERTIFICATE_FILE";
const CERTIFICATE_KEY: &str = "PARTA__SERVER__TLS_KEY_FILE";

type Rule = fn(&Manifests, &Facts) -> Vec<String>;

/// The rules by name.
pub(crate) const RULES: &[(&str, Rule)] = &[
    ("objects are unique", objects::unique),
    ("selectors match the labels of their pods", objects::selectors),
    ("references lead to objects", objects::references),
    ("no Secret is rendered", secrets::rendered),
    ("settings of pods are no secrets", secrets::settings),
    ("arguments name a service", objects::arguments),
    ("settings are keys of the configuration", objects::settings),
    ("ports are those of the binary", objects::ports),
    ("probes ask for health checks of the binary", objects::probes),
    ("images are named by one digest", objects::images),
    ("containers are hardened", pods::hardened),
    ("user ids are fixed only where they must be", pods::user_ids),
    (
        "resources are requested, and only memory is limited",
        pods::resources,
    ),
    ("pods use no token of the cluster", pods::tokens),
    ("a pod has the keys of its own service", pods::keys),
    ("the grace period covers the stop", pods::grace),
    ("a rollout takes no replica away", pods::rollouts),
    ("a change of the settings restarts the pods", pods::settings),
    ("several replicas have a disruption budget", pods::budgets),
    ("several replicas are spread", pods::spread),
    (
        "services find replicas that are not ready",
        network::internal_services,
    ),
    ("clients reach ready replicas only", network::public_services),
    (
        "every pod has a network policy of both directions",
        network::policies,
    ),
    ("no peer is selected by an empty selector", network::peers),
    ("egress goes to the table of calls", network::egress),
    ("pods reach their servers and nothing else", network::servers),
    (
        "the collector reaches the one to which it forwards",
        network::forwards,
    ),
    (
        "ingress comes from the table of calls and from clients",
        network::ingress,
    ),
    (
        "only membership reaches the mail server and the SMS gateway",
        network::delivery,
    ),
    (
        "addresses outside of the cluster are public ones",
        addresses::private,
    ),
    ("exceptions lie within their network", addresses::exceptions),
    ("the route has the public services and no other", network::route),
    ("the server trusts the proxies of its route", network::proxies),
    ("a load balancer admits clients", network::balancers),
    ("metrics are scraped where they are offered", monitoring::scraped),
    ("alerts say what to do, and are about metrics", monitoring::alerts),
    ("one pod has a volume", parts::volumes),
    ("claim templates have no label", parts::claims),
    ("an autoscaler sets the replicas", parts::autoscalers),
    ("only a migration gets the owner of the schema", parts::owners),
    ("a database has a role that serves and an owner", parts::roles),
    ("a rollout leaves connections to the database", parts::connections),
    ("a schedule backs up an archived cluster", parts::backups),
    (
        "external Secrets have the keys that pods read",
        parts::external_secrets,
    ),
    ("certificates are for their listeners", parts::certificates),
    ("a gateway verifies pods that require TLS", parts::backends),
    ("optional servers are where the settings say", parts::servers),
    ("only pods of Parta reach the optional servers", parts::callers),
    ("files of settings are mounted", parts::files),
];

/// The violations, each with the name of its rule.
pub(crate) fn violations(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let found = RULES.iter().flat_map(|(rule, check)| {
        check(manifests, facts)
            .into_iter()
            .map(move |what| format!("{rule}: {what}"))
    });
    found.collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// The objects of `all` for which `holds` is false.
fn failing<'a>(all: impl Iterator<Item = &'a Value>, holds: impl Fn(&Value) -> bool) -> Vec<String> {
    all.filter(|object| !holds(object)).map(name).collect()
}

/// A setting that all pods share.
fn setting<'a>(manifests: &'a Manifests, variable: &str) -> Option<&'a str> {
    manifests.find("ConfigMap", ALL)?["data"][variable].as_str()
}

/// Whether the process of a workload listens with TLS.
fn encrypted(workload: &Value) -> bool {
    items(&pod(workload)["containers"])
        .flat_map(|container| items(&container["env"]))
        .any(|variable| variable["name"] == CERTIFICATE)
}

/// The port at the end of an address.
fn port_of(address: &str) -> Option<u64> {
    address.rsplit_once(':')?.1.trim_end_matches('/').parse().ok()
}
