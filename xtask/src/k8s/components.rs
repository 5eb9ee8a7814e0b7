//! The optional parts of the chart as components of kustomize. Each is the difference between the render of
//! the default values and the render with the part: new objects, and JSON patches of the others.
use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::manifests::{Manifests, name};

/// The components and the values that they stand for.
pub(crate) const COMPONENTS: &[(&str, &[&str])] = &[
    ("cert-manager", &["certManager.enabled=true"]),
    (
        "cnpg",
        &["cnpg.enabled=true", "cnpg.backup.objectStore=parta-backup"],
    ),
    ("external-secrets", &["externalSecrets.enabled=true"]),
    (
        "gateway-api",
        &[
            "route.enabled=true",
            "route.hostnames={parta.school.example}",
            "route.trustedProxies={192.0.2.0/24}",
        ],
    ),
    (
        "gateway-api-tls",
        &[
            "route.enabled=true",
            "route.hostnames={parta.school.example}",
            "route.trustedProxies={192.0.2.0/24}",
            "certManager.enabled=true",
        ],
    ),
    ("replicas", REPLICAS),
    (
        "replicas-hpa",
        &[
            REPLICAS[0],
            REPLICAS[1],
            REPLICAS[2],
            REPLICAS[3],
            REPLICAS[4],
            "autoscaling.enabled=true",
        ],
    ),
    ("hpa", &["autoscaling.enabled=true"]),
    ("nats", &["natsServer.enabled=true"]),
    ("otel", &["otelCollector.enabled=true"]),
    (
        "monitoring",
        &["otelCollector.enabled=true", "monitoring.enabled=true"],
    ),
];

/// The replicas of the profile `ha`.
const REPLICAS: &[&str] = &[
    "services.org-registry.replicas=2",
    "services.membership.replicas=2",
    "services.invitation.replicas=2",
    "services.chat.replicas=3",
    "services.call-scheduling.replicas=2",
];

/// Groups of components of which an installation has at most one, because they add the same objects. The last
/// one of each group contains the others: a gateway that calls pods with TLS has further objects.
pub(crate) const ALTERNATIVES: &[&[&str]] = &[
    &["cert-manager", "gateway-api", "gateway-api-tls"],
    &["hpa", "replicas", "replicas-hpa"],
    &["otel", "monitoring"],
];

/// One operation of a JSON patch: the operation, the path, and the value where it has one.
type Operation = (&'static str, String, Option<Value>);

/// Writes the files of a component: `kustomization.yaml`, and the objects that it adds.
pub(crate) fn files(component: &str, base: &str, with: &str) -> anyhow::Result<[(String, String); 2]> {
    let (before, after) = (Manifests::parse(base)?, Manifests::parse(with)?);
    let known: Vec<String> = before.0.iter().map(name).collect();
    let added = with.split("\n---\n").filter(|document| {
        Manifests::parse(document).is_ok_and(|one| one.0.iter().any(|object| !known.contains(&name(object))))
    });
    let added: Vec<&str> = added
        .map(|document| document.trim_start_matches("---\n").trim())
        .collect();
    let mut kustomization = format!(
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [{component}.yaml]\n"
    );
    let mut patched = false;
    for object in &before.0 {
        let now = after.find(text(&object["kind"]), text(&object["metadata"]["name"]));
        let now = now.with_context(|| format!("{component} removes {}", name(object)))?;
        let mut operations = Vec::new();
        difference(object, now, String::new(), &mut operations);
        if operations.is_empty() {
            continue;
        }
        if !std::mem::replace(&mut patched, true) {
            kustomization.push_str("patches:\n");
        }
        let (kind, of) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        write!(
            kustomization,
            "  - target: {{kind: {kind}, name: {of}}}\n    patch: |-\n"
        )?;
        for (operation, path, value) in operations {
            let mut line = json!({"op": operation, "path": path});
            if let Some(value) = value {
                line["value"] = value;
            }
            writeln!(kustomization, "      - {line}")?;
        }
    }
    Ok([
        (
            format!("k8s/components/{component}/kustomization.yaml"),
            kustomization,
        ),
        (
            format!("k8s/components/{component}/{component}.yaml"),
            format!("{}\n", added.join("\n---\n")),
        ),
    ])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// The operations that make `new` of `old`. A list that only grows is appended to, so that the patches of
/// several components do not disturb each other.
fn difference(old: &Value, new: &Value, path: String, operations: &mut Vec<Operation>) {
    let below = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (old, new) {
        _ if old == new => {}
        (Value::Object(before), Value::Object(after)) => {
            for key in before.keys().filter(|key| !after.contains_key(*key)) {
                operations.push(("remove", below(key), None));
            }
            for (key, value) in after {
                match before.get(key) {
                    Some(known) => difference(known, value, below(key), operations),
                    None => operations.push(("add", below(key), Some(value.clone()))),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() <= after.len() => {
            let pairs = before.iter().zip(after).enumerate();
            for (index, (known, value)) in pairs {
                difference(known, value, below(&index.to_string()), operations);
            }
            let grown = after.iter().skip(before.len());
            operations.extend(grown.map(|value| ("add", below("-"), Some(value.clone()))));
        }
        _ => operations.push(("replace", path, Some(new.clone()))),
    }
}
