//! The row of a table that compares charts: what a reviewer counts.
use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::Value;

use super::{
    Tools,
    manifests::{Manifests, containers, items, pod, selects},
    render::DEFAULT,
    validators,
};

/// The profiles of the table in k8s/README.md, with their names there.
pub(crate) const TABLE: &[(&str, &str)] = &[
    (DEFAULT, "**Parta**, default values"),
    ("single-node", "**Parta**, `single-node`"),
    ("ha", "**Parta**, `ha`"),
    (
        "openshift-ha",
        "**Parta**, `ha` on OpenShift with all optional parts",
    ),
];

/// Returns the row of a profile: the [`counts`], and the findings of trivy without any skipped check.
pub(crate) fn row(tools: &Tools, profile: &str, text: &str) -> anyhow::Result<String> {
    let [high, medium, low] = validators::findings(tools, text)?;
    Ok(format!("{} {high}/{medium}/{low} |", counts(profile, text)?))
}

/// Counts hardened containers, requests, digests, disruption budgets, and policies with closed egress.
pub(crate) fn counts(profile: &str, text: &str) -> anyhow::Result<String> {
    let manifests = Manifests::parse(text)?;
    let containers: Vec<_> = manifests.workloads().flat_map(containers).collect();
    let count = |holds: &dyn Fn(&serde_json::Value) -> bool| {
        let found = containers.iter().filter(|container| holds(container)).count();
        format!("{found}/{}", containers.len())
    };
    let hardened = count(&|container| {
        let security = &container["securityContext"];
        security["readOnlyRootFilesystem"] == true
            && security["runAsNonRoot"] == true
            && security["allowPrivilegeEscalation"] == false
            && security["seccompProfile"]["type"] == "RuntimeDefault"
            && items(&security["capabilities"]["drop"]).any(|dropped| dropped == "ALL")
    });
    let requests = count(&|container| {
        let requests = &container["resources"]["requests"];
        requests["cpu"].is_string() && requests["memory"].is_string()
    });
    let digests = count(&|container| {
        container["image"]
            .as_str()
            .is_some_and(|image| image.contains("@sha256:"))
    });
    let pods: Vec<_> = manifests.workloads().collect();
    let closed = pods.iter().filter(|workload| {
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        manifests.of("NetworkPolicy").any(|policy| {
            let open = items(&policy["spec"]["egress"]).any(|rule| items(&rule["to"]).next().is_none());
            selects(&policy["spec"]["podSelector"]["matchLabels"], labels)
                && items(&policy["spec"]["policyTypes"]).any(|kind| kind == "Egress")
                && !open
        })
    });
    let named = TABLE.iter().find(|(name, _)| *name == profile);
    let profile = named.map_or(profile, |(_, named)| named);
    Ok(format!(
        "| {profile} | {hardened} | {requests} | {digests} | {} | {}/{} |",
        manifests.of("PodDisruptionBudget").count(),
        closed.count(),
        pods.len(),
    ))
}

/// The profiles whose sizes k8s/README.md has: those of an installation, and optional servers.
pub(crate) const SIZES: &[&str] = &["single-node", "small", "ha", "nats", "otel"];

/// Returns the beginning of the row of a profile in the table of sizes: the sums of its requests and limits.
/// Kubernetes counts the larger of the containers that run first and those that run after them.
pub(crate) fn size(profile: &str, manifests: &Manifests) -> anyhow::Result<String> {
    let is_component = super::COMPONENTS
        .iter()
        .any(|(component, _)| *component == profile);
    let (mut cpu, mut requested, mut limit) = (0, 0, 0);
    for workload in manifests.workloads() {
        if is_component && manifests.parta().any(|parta| parta == workload) {
            continue;
        }
        let replicas = workload["spec"]["replicas"].as_u64().context("replicas")?;
        let effective = |read: &dyn Fn(&Value) -> anyhow::Result<u64>| {
            let first = items(&pod(workload)["initContainers"]).map(read);
            let first = first.collect::<anyhow::Result<Vec<u64>>>()?.into_iter().max();
            let then = items(&pod(workload)["containers"]).map(read);
            let then: u64 = then.collect::<anyhow::Result<Vec<u64>>>()?.into_iter().sum();
            anyhow::Ok(replicas * then.max(first.unwrap_or(0)))
        };
        cpu += effective(&|container| milli(&container["resources"]["requests"]["cpu"]))?;
        requested += effective(&|container| mebi(&container["resources"]["requests"]["memory"]))?;
        limit += effective(&|container| mebi(&container["resources"]["limits"]["memory"]))?;
    }
    let kind = if is_component { "component " } else { "" };
    let volume = if profile == "single-node" {
        ", volume of 10 GiB"
    } else {
        ""
    };
    Ok(format!(
        "| {kind}`{profile}` | {cpu}m CPU, {requested} MiB{volume} | {} |",
        shown(limit)
    ))
}

/// Returns the requests and the limit of the containers that run first in the pods of Parta, as the README
/// writes them.
pub(crate) fn first_containers(manifests: &Manifests) -> anyhow::Result<BTreeSet<String>> {
    manifests
        .parta()
        .flat_map(|workload| items(&pod(workload)["initContainers"]))
        .map(|container| {
            let resources = &container["resources"];
            Ok(format!(
                "{}m CPU, {} MiB and a limit of {}",
                milli(&resources["requests"]["cpu"])?,
                mebi(&resources["requests"]["memory"])?,
                shown(mebi(&resources["limits"]["memory"])?)
            ))
        })
        .collect()
}

/// Memory with the larger unit from one GiB on.
fn shown(mebibytes: u64) -> String {
    match mebibytes {
        small @ ..1024 => format!("{small} MiB"),
        whole if whole.is_multiple_of(1024) => format!("{} GiB", whole / 1024),
        large => format!("{}.{} GiB", large / 1024, large % 1024 * 10 / 1024),
    }
}

fn milli(quantity: &Value) -> anyhow::Result<u64> {
    let text = quantity.as_str().context("CPU without a quantity")?;
    let number = text.strip_suffix('m').with_context(|| text.to_owned())?;
    Ok(number.parse()?)
}

fn mebi(quantity: &Value) -> anyhow::Result<u64> {
    let text = quantity.as_str().context("memory without a quantity")?;
    let (number, factor) = match (text.strip_suffix("Mi"), text.strip_suffix("Gi")) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 1024),
        _ => anyhow::bail!("memory of {text}"),
    };
    Ok(number.parse::<u64>()? * factor)
}
