//! The objects, their references, and that they agree with the binary.
use std::collections::BTreeSet;

use serde_json::Value;

use super::{ALL, encrypted, failing, port_of, setting, text};
use crate::k8s::{
    facts::Facts,
    manifests::{Manifests, containers, items, name, pod, selects},
};

pub(super) fn unique(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = manifests.0.iter().map(name);
    names.filter(|name| !seen.insert(name.clone())).collect()
}

pub(super) fn selectors(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let labels = |workload: &Value| workload["spec"]["template"]["metadata"]["labels"].clone();
    let pods: Vec<Value> = manifests.workloads().map(labels).collect();
    let one = |selector: &Value| pods.iter().filter(|labels| selects(selector, labels)).count() == 1;
    let mut found = failing(manifests.workloads(), |workload| {
        selects(&workload["spec"]["selector"]["matchLabels"], &labels(workload))
            && one(&workload["spec"]["selector"]["matchLabels"])
    });
    found.extend(failing(manifests.of("Service"), |service| {
        one(&service["spec"]["selector"])
    }));
    found.extend(failing(manifests.of("PodDisruptionBudget"), |budget| {
        one(&budget["spec"]["selector"]["matchLabels"])
    }));
    found.extend(failing(manifests.of("NetworkPolicy"), |policy| {
        let selector = &policy["spec"]["podSelector"]["matchLabels"];
        // The pods of PostgreSQL are made by its operator.
        let cluster = text(&selector["cnpg.io/cluster"]);
        one(selector) || manifests.find("Cluster", cluster).is_some()
    }));
    found
}

pub(super) fn references(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let mut wants = |by: &Value, kind: &str, wanted: &Value| {
        if manifests.find(kind, text(wanted)).is_none() {
            found.push(format!(
                "{} names {kind}/{}, which does not exist",
                name(by),
                text(wanted)
            ));
        }
    };
    for workload in manifests.workloads() {
        wants(workload, "ServiceAccount", &pod(workload)["serviceAccountName"]);
        for container in containers(workload) {
            for source in items(&container["envFrom"]).filter(|source| source["configMapRef"].is_object()) {
                wants(workload, "ConfigMap", &source["configMapRef"]["name"]);
            }
        }
        for volume in items(&pod(workload)["volumes"]).filter(|volume| volume["configMap"].is_object()) {
            wants(workload, "ConfigMap", &volume["configMap"]["name"]);
        }
        if workload["kind"] == "StatefulSet" {
            wants(workload, "Service", &workload["spec"]["serviceName"]);
        }
    }
    for scaler in manifests.of("HorizontalPodAutoscaler") {
        let target = &scaler["spec"]["scaleTargetRef"];
        wants(scaler, text(&target["kind"]), &target["name"]);
    }
    for database in manifests.of("Database") {
        wants(database, "Cluster", &database["spec"]["cluster"]["name"]);
    }
    for route in manifests.of("GRPCRoute") {
        for rule in items(&route["spec"]["rules"]) {
            for backend in items(&rule["backendRefs"]) {
                wants(route, "Service", &backend["name"]);
            }
        }
    }
    for workload in manifests.workloads() {
        let claims =
            items(&workload["spec"]["volumeClaimTemplates"]).map(|claim| text(&claim["metadata"]["name"]));
        let volumes: BTreeSet<&str> = items(&pod(workload)["volumes"])
            .map(|v| text(&v["name"]))
            .chain(claims)
            .collect();
        let mounts = containers(workload).flat_map(|container| items(&container["volumeMounts"]));
        let lost = mounts
            .map(|mount| text(&mount["name"]))
            .filter(|mount| !volumes.contains(mount));
        found.extend(lost.map(|mount| format!("{} mounts {mount}, which is no volume", name(workload))));
    }
    found
}

pub(super) fn arguments(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.parta(), |workload| {
        let own = text(&workload["metadata"]["name"]);
        let given = |key: &str| -> Vec<Vec<&str>> {
            let containers = items(&pod(workload)[key]);
            containers
                .map(|container| items(&container["args"]).map(text).collect())
                .collect()
        };
        if own == ALL {
            return given("initContainers").is_empty() && given("containers") == [["serve"]];
        }
        facts.services.contains(own)
            && given("initContainers") == [["migrate", own]]
            && given("containers") == [["serve", "--only", own]]
    })
}

pub(super) fn settings(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let maps = manifests
        .of("ConfigMap")
        .filter(|map| map["metadata"]["name"] == ALL);
    let from_maps = maps.flat_map(|map| {
        let keys = map["data"].as_object().into_iter().flatten();
        keys.map(move |(key, _)| (name(map), key.clone()))
    });
    let from_containers = manifests.parta().flat_map(|workload| {
        let variables = containers(workload).flat_map(|container| items(&container["env"]));
        variables.map(move |variable| (name(workload), text(&variable["name"]).to_owned()))
    });
    let unknown = from_maps.chain(from_containers).filter(|(_, variable)| {
        let key = variable
            .strip_prefix("PARTA__")
            .map(|key| key.to_lowercase().replace("__", "."));
        variable != "PARTA_PROFILE" && key.is_none_or(|key| !facts.config_keys.contains(&key))
    });
    unknown
        .map(|(by, variable)| format!("{by} sets {variable}, which the binary does not read"))
        .collect()
}

pub(super) fn ports(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let ports = |workload: &Value| -> Vec<(String, u64)> {
        let ports = items(&pod(workload)["containers"]).flat_map(|container| items(&container["ports"]));
        ports
            .map(|port| {
                (
                    text(&port["name"]).to_owned(),
                    port["containerPort"].as_u64().unwrap_or(0),
                )
            })
            .collect()
    };
    let mut found = failing(manifests.workloads(), |workload| {
        let names: BTreeSet<String> = ports(workload).into_iter().map(|(name, _)| name).collect();
        names.len() == ports(workload).len()
    });
    let health = setting(manifests, "PARTA__SERVER__HEALTH_LISTEN").and_then(port_of);
    found.extend(failing(manifests.parta(), |workload| {
        let mut wanted = vec![("grpc".to_owned(), facts.port)];
        wanted.extend(health.map(|port| ("health".to_owned(), port)));
        ports(workload) == wanted
    }));
    found.extend(failing(manifests.of("Service"), |service| {
        let selected = manifests.workloads().find(|workload| {
            let labels = &workload["spec"]["template"]["metadata"]["labels"];
            selects(&service["spec"]["selector"], labels)
        });
        items(&service["spec"]["ports"]).all(|port| {
            let target = (
                text(&port["targetPort"]).to_owned(),
                port["port"].as_u64().unwrap_or(0),
            );
            selected.is_some_and(|workload| ports(workload).contains(&target))
        })
    }));
    found.extend(failing(manifests.of("GRPCRoute"), |route| {
        items(&route["spec"]["rules"])
            .flat_map(|rule| items(&rule["backendRefs"]))
            .all(|backend| backend["port"] == facts.port)
    }));
    found
}

pub(super) fn probes(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let probes = [
        ("startupProbe", "startup"),
        ("readinessProbe", "readiness"),
        ("livenessProbe", "liveness"),
    ];
    // Kubernetes checks health without TLS.
    let health = setting(manifests, "PARTA__SERVER__HEALTH_LISTEN").and_then(port_of);
    let mut found = failing(manifests.parta(), |workload| {
        let port = if encrypted(workload) {
            health
        } else {
            health.or(Some(facts.port))
        };
        items(&pod(workload)["containers"]).all(|container| {
            probes.iter().all(|(probe, health)| {
                let grpc = &container[*probe]["grpc"];
                grpc["service"] == *health
                    && facts.health.contains(*health)
                    && port.is_some_and(|port| grpc["port"] == port)
            })
        })
    });
    found.extend(failing(manifests.workloads(), |workload| {
        items(&pod(workload)["containers"])
            .all(|container| probes.iter().all(|(probe, _)| container[*probe].is_object()))
    }));
    found
}

/// The image of this repository.
const PARTA: &str = "/parta/parta";

pub(super) fn images(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let all: BTreeSet<&str> = manifests.images().collect();
    let registry = |image: &str| image.split('/').next().unwrap_or("").to_owned();
    let repository = |image: &str| image.split('@').next().unwrap_or("").to_owned();
    let registries: BTreeSet<String> = all.iter().map(|image| registry(image)).collect();
    let repositories: BTreeSet<String> = all.iter().map(|image| repository(image)).collect();
    if registries.len() > 1 || repositories.len() < all.len() {
        return all.into_iter().map(str::to_owned).collect();
    }
    let named = |image: &&str| {
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
        // Zeros stand for the image of a release. The images of others have been released.
        let is_placeholder = digest.is_some_and(|digest| digest.trim_matches('0').is_empty());
        digest.is_some_and(|digest| digest.len() == 64)
            && (!is_placeholder || repository(image).ends_with(PARTA))
            && !repository(image).replace(&registry(image), "").contains(':')
    };
    all.into_iter()
        .filter(|image| !named(image))
        .map(str::to_owned)
        .collect()
}
