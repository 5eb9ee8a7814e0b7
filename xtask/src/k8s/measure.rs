//! The row of a table that compares charts: what a reviewer counts.
use super::{
    Tools,
    manifests::{Manifests, containers, items, selects},
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
