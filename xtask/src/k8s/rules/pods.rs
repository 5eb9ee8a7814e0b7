//! The pods: their protection, resources, keys, rollouts and replicas.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{ALL, failing, text};
use crate::k8s::{
    facts::Facts,
    manifests::{Manifests, containers, items, name, pod, selects},
};

pub(super) fn hardened(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let pod = pod(workload);
        let closed = |key: &str| !pod[key].as_bool().unwrap_or(false);
        closed("hostNetwork")
            && closed("hostPID")
            && closed("hostIPC")
            && items(&pod["volumes"]).all(|volume| volume["hostPath"].is_null())
            && containers(workload).all(|container| {
                let security = &container["securityContext"];
                security["allowPrivilegeEscalation"] == false
                    && security["readOnlyRootFilesystem"] == true
                    && security["runAsNonRoot"] == true
                    && security["privileged"] != true
                    && security["seccompProfile"]["type"] == "RuntimeDefault"
                    && security["capabilities"]["add"].is_null()
                    && items(&security["capabilities"]["drop"]).any(|dropped| dropped == "ALL")
            })
    })
}

/// An id is fixed only where a volume belongs to a group, or where an image names no user.
pub(super) fn user_ids(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let spec = &pod(workload)["securityContext"];
        let claims = items(&workload["spec"]["volumeClaimTemplates"]).count();
        let own = manifests.parta().any(|parta| parta == workload);
        let contexts = containers(workload).map(|container| &container["securityContext"]);
        contexts
            .chain([spec])
            .all(|security| security["runAsGroup"].is_null())
            && containers(workload).all(|container| container["securityContext"]["runAsUser"].is_null())
            && (spec["runAsUser"].is_null() || !own)
            && (spec["fsGroup"].is_null() || claims > 0)
    })
}

/// OpenShift's restricted-v2 chooses the ids of users and groups, and refuses others.
pub(crate) fn chosen_ids(manifests: &Manifests) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let contexts = containers(workload).map(|container| &container["securityContext"]);
        contexts
            .chain([&pod(workload)["securityContext"]])
            .all(|security| {
                [
                    "runAsUser",
                    "runAsGroup",
                    "fsGroup",
                    "supplementalGroups",
                    "seLinuxOptions",
                ]
                .iter()
                .all(|key| security[*key].is_null())
            })
    })
}

pub(super) fn resources(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        containers(workload).all(|container| {
            let resources = &container["resources"];
            resources["requests"]["cpu"].is_string()
                && resources["requests"]["memory"].is_string()
                && resources["limits"]["memory"].is_string()
                && resources["limits"]["cpu"].is_null()
        })
    })
}

pub(super) fn tokens(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut found = failing(manifests.workloads(), |workload| {
        pod(workload)["automountServiceAccountToken"] == false && pod(workload)["enableServiceLinks"] == false
    });
    found.extend(failing(manifests.of("ServiceAccount"), |account| {
        account["automountServiceAccountToken"] == false
    }));
    found
}

pub(super) fn keys(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for workload in manifests.parta() {
        if workload["metadata"]["name"] == ALL {
            found.extend((!has_all_keys(workload, facts)).then(|| name(workload)));
            continue;
        }
        let secrets: Vec<&str> = items(&pod(workload)["volumes"])
            .filter(|volume| volume["name"] == "keys")
            .map(|volume| text(&volume["secret"]["secretName"]))
            .filter(|secret| !secret.is_empty())
            .collect();
        let [secret] = secrets[..] else {
            found.push(format!("{} mounts {secrets:?}", name(workload)));
            continue;
        };
        *owners.entry(secret.to_owned()).or_default() += 1;
    }
    let shared = owners.into_iter().filter(|(_, count)| *count > 1);
    found.extend(shared.map(|(secret, count)| format!("{count} services mount {secret}")));
    found
}

/// Whether one folder has the keys of all services: the Secret of membership, and the private keys of the
/// others.
fn has_all_keys(workload: &Value, facts: &Facts) -> bool {
    let keys = items(&pod(workload)["volumes"]).find(|volume| volume["name"] == "keys");
    let sources: Vec<&Value> = keys
        .into_iter()
        .flat_map(|volume| items(&volume["projected"]["sources"]))
        .collect();
    let whole: Vec<&str> = sources
        .iter()
        .filter(|source| source["secret"]["items"].is_null())
        .map(|source| text(&source["secret"]["name"]))
        .collect();
    let single: BTreeSet<String> = sources
        .iter()
        .flat_map(|source| items(&source["secret"]["items"]))
        .filter(|item| item["key"] == item["path"])
        .map(|item| text(&item["path"]).to_owned())
        .collect();
    let others = facts.services.iter().filter(|service| *service != "membership");
    whole.len() == 1
        && whole.iter().all(|secret| secret.ends_with("membership"))
        && single == others.map(|service| format!("{service}.pem")).collect()
}

pub(super) fn grace(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let settings = manifests.find("ConfigMap", ALL).map(|map| &map["data"]);
    let seconds = settings.and_then(|data| text(&data["PARTA__SERVER__GRACE_SECONDS"]).parse::<u64>().ok());
    failing(manifests.parta(), |workload| {
        let period = pod(workload)["terminationGracePeriodSeconds"].as_u64();
        seconds
            .zip(period)
            .is_some_and(|(seconds, period)| period > seconds)
    })
}

pub(super) fn rollouts(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.of("Deployment"), |deployment| {
        let strategy = &deployment["spec"]["strategy"];
        strategy["type"] == "RollingUpdate" && strategy["rollingUpdate"]["maxUnavailable"] == 0
    })
}

/// A pod reads its settings when it starts. A hash of them in its template starts it again when they change.
pub(super) fn settings(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let mounted = items(&pod(workload)["volumes"]).any(|volume| volume["configMap"].is_object());
        let read = containers(workload)
            .flat_map(|container| items(&container["envFrom"]))
            .any(|source| source["configMapRef"].is_object());
        let hash = text(&workload["spec"]["template"]["metadata"]["annotations"]["parta/config"]);
        !(mounted || read) || hash.len() == 64 && hash.chars().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// The fewest replicas of a workload: those of its autoscaler, or its own.
fn replicas(manifests: &Manifests, workload: &Value) -> Option<u64> {
    let scaler = manifests
        .of("HorizontalPodAutoscaler")
        .find(|scaler| scaler["spec"]["scaleTargetRef"]["name"] == workload["metadata"]["name"]);
    match scaler {
        Some(scaler) => scaler["spec"]["minReplicas"].as_u64(),
        None => workload["spec"]["replicas"].as_u64(),
    }
}

/// The workloads of Parta of which the loss of one node takes every pod.
pub(crate) fn single(manifests: &Manifests) -> Vec<String> {
    failing(manifests.parta(), |workload| {
        replicas(manifests, workload).is_some_and(|fewest| fewest > 1)
    })
}

pub(super) fn budgets(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let budget = |workload: &Value| {
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        manifests
            .of("PodDisruptionBudget")
            .find(|budget| selects(&budget["spec"]["selector"]["matchLabels"], labels))
    };
    failing(manifests.workloads(), |workload| {
        let fewest = replicas(manifests, workload);
        match budget(workload) {
            None => fewest == Some(1),
            Some(budget) => {
                let most = budget["spec"]["maxUnavailable"].as_u64();
                most.zip(fewest)
                    .is_some_and(|(most, fewest)| most >= 1 && most < fewest)
            }
        }
    })
}

pub(super) fn spread(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        if workload["metadata"]["name"] == ALL {
            return true;
        }
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        items(&pod(workload)["topologySpreadConstraints"]).any(|constraint| {
            constraint["topologyKey"] == "kubernetes.io/hostname"
                && selects(&constraint["labelSelector"]["matchLabels"], labels)
        })
    })
}
