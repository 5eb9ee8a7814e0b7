//! The parts that not every installation has: a volume, an autoscaler, and objects of other projects.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{ALL, CERTIFICATE, CERTIFICATE_KEY, encrypted, failing, port_of, setting, text};
use crate::k8s::{
    facts::Facts,
    manifests::{Manifests, containers, items, name, pod},
};

/// A claim belongs to one pod, and no second pod opens the databases in it.
pub(super) fn volumes(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let claiming = manifests.workloads().filter(|workload| {
        workload["metadata"]["name"] == ALL || workload["spec"]["volumeClaimTemplates"].is_array()
    });
    failing(claiming, |workload| {
        let spec = &workload["spec"];
        let claims: Vec<&Value> = items(&spec["volumeClaimTemplates"]).collect();
        let kept = &spec["persistentVolumeClaimRetentionPolicy"];
        workload["kind"] == "StatefulSet"
            && spec["replicas"] == 1
            && spec["updateStrategy"]["type"] == "RollingUpdate"
            && spec["podManagementPolicy"] == "OrderedReady"
            && kept["whenDeleted"] == "Retain"
            && kept["whenScaled"] == "Retain"
            && claims.len() == 1
            && claims.iter().all(|claim| {
                let mounted = containers(workload)
                    .flat_map(|container| items(&container["volumeMounts"]))
                    .any(|mount| mount["name"] == claim["metadata"]["name"] && mount["readOnly"] != true);
                let modes: Vec<&str> = items(&claim["spec"]["accessModes"]).map(text).collect();
                mounted && (modes == ["ReadWriteOnce"] || modes == ["ReadWriteOncePod"])
            })
    })
}

/// Kubernetes refuses every change of a claim template, and labels are where versions are put.
pub(super) fn claims(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        items(&workload["spec"]["volumeClaimTemplates"]).all(|claim| {
            let metadata = &claim["metadata"];
            metadata["labels"].is_null() && metadata["annotations"].is_null()
        })
    })
}

/// An autoscaler and a fixed number of replicas would undo each other at each upgrade.
pub(super) fn autoscalers(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.of("HorizontalPodAutoscaler"), |scaler| {
        let target = text(&scaler["spec"]["scaleTargetRef"]["name"]);
        let (fewest, most) = (&scaler["spec"]["minReplicas"], &scaler["spec"]["maxReplicas"]);
        manifests
            .find("Deployment", target)
            .is_some_and(|deployment| deployment["spec"]["replicas"].is_null())
            && fewest
                .as_u64()
                .zip(most.as_u64())
                .is_some_and(|(fewest, most)| 2 <= fewest && fewest <= most)
    })
}

/// The variables of a container that come from a Secret: name, Secret, key.
fn from_secrets(container: &Value) -> impl Iterator<Item = (&str, &str, &str)> {
    items(&container["env"]).filter_map(|variable| {
        let secret = &variable["valueFrom"]["secretKeyRef"];
        Some((
            text(&variable["name"]),
            secret["name"].as_str()?,
            text(&secret["key"]),
        ))
    })
}

pub(super) fn owners(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let services = manifests
        .parta()
        .filter(|workload| workload["metadata"]["name"] != ALL);
    failing(services, |workload| {
        let own = text(&workload["metadata"]["name"]);
        let section = own.replace('-', "_").to_uppercase();
        let (url, migrate) = (
            format!("PARTA__{section}__DATABASE_URL"),
            format!("PARTA__{section}__DATABASE_MIGRATE_URL"),
        );
        let given = |key: &str| -> BTreeSet<(String, String)> {
            items(&pod(workload)[key])
                .flat_map(from_secrets)
                .map(|(variable, _, key)| (variable.to_owned(), key.to_owned()))
                .collect()
        };
        let serving = BTreeSet::from([(url.clone(), "url".to_owned())]);
        let mut migrating = serving.clone();
        migrating.insert((migrate, "migrate-url".to_owned()));
        facts.services.contains(own) && given("containers") == serving && given("initContainers") == migrating
    })
}

/// Each service has a database of its own, whose owner is not the role that serves.
pub(super) fn roles(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let Some(cluster) = manifests.of("Cluster").next() else {
        return Vec::new();
    };
    let kept = |object: &Value| object["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep";
    if !kept(cluster) {
        return vec![name(cluster)];
    }
    let roles: BTreeMap<&str, &str> = items(&cluster["spec"]["managed"]["roles"])
        .filter(|role| role["login"] == true && role["superuser"] != true)
        .map(|role| (text(&role["name"]), text(&role["passwordSecret"]["name"])))
        .collect();
    let holds = |service: &&String| {
        let owner = format!("{service}-owner");
        let database = manifests
            .find("Database", service)
            .map(|database| &database["spec"]);
        let workload = manifests.find("Deployment", service);
        let secrets: BTreeSet<&str> = workload
            .into_iter()
            .flat_map(containers)
            .flat_map(from_secrets)
            .map(|(_, secret, _)| secret)
            .collect();
        database.is_some_and(|database| {
            database["owner"] == owner
                && database["name"] == **service
                && database["databaseReclaimPolicy"] == "retain"
        }) && roles
            .get(service.as_str())
            .is_some_and(|secret| secrets == BTreeSet::from([*secret]))
            && roles
                .get(owner.as_str())
                .is_some_and(|secret| !secrets.contains(secret))
    };
    facts
        .services
        .iter()
        .filter(|service| !holds(service))
        .cloned()
        .collect()
}

/// The most pods of all services, one more of each during a rollout, have fewer connections than the cluster
/// accepts; it keeps ten for itself and for people.
pub(super) fn connections(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.of("Cluster"), |cluster| {
        let pods = manifests.parta().map(|workload| {
            let scaler = manifests
                .of("HorizontalPodAutoscaler")
                .find(|scaler| scaler["spec"]["scaleTargetRef"]["name"] == workload["metadata"]["name"]);
            let most = match scaler {
                Some(scaler) => &scaler["spec"]["maxReplicas"],
                None => &workload["spec"]["replicas"],
            };
            most.as_u64().unwrap_or(u64::MAX / 1024) + 1
        });
        let wanted = pods.sum::<u64>().saturating_mul(facts.connections) + 10;
        let accepted = text(&cluster["spec"]["postgresql"]["parameters"]["max_connections"]);
        accepted.parse::<u64>().is_ok_and(|accepted| accepted >= wanted)
    })
}

/// A cluster archives its write-ahead log by the plugin that makes its backups, and neither goes without the
/// other: a backup without the log cannot be restored.
pub(super) fn backups(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let archiver = |cluster: &Value| -> Option<String> {
        let mut plugins = items(&cluster["spec"]["plugins"]);
        let archiver = plugins.find(|plugin| plugin["isWALArchiver"] == true)?;
        let store = archiver["parameters"]["barmanObjectName"].as_str()?;
        (!store.is_empty()).then(|| text(&archiver["name"]).to_owned())
    };
    let mut found = failing(manifests.of("Cluster"), |cluster| {
        let scheduled = manifests
            .of("ScheduledBackup")
            .any(|backup| backup["spec"]["cluster"]["name"] == cluster["metadata"]["name"]);
        archiver(cluster).is_some() == scheduled
    });
    found.extend(failing(manifests.of("ScheduledBackup"), |backup| {
        let cluster = manifests.find("Cluster", text(&backup["spec"]["cluster"]["name"]));
        let by = backup["spec"]["pluginConfiguration"]["name"].as_str();
        backup["spec"]["method"] == "plugin" && by.is_some() && cluster.and_then(archiver).as_deref() == by
    }));
    found
}

/// With one external Secret, all Secrets are external, and each brings the keys that a pod reads.
pub(super) fn external_secrets(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    if manifests.of("ExternalSecret").next().is_none() {
        return Vec::new();
    }
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for workload in manifests.workloads() {
        for container in containers(workload) {
            for (_, secret, key) in from_secrets(container) {
                wanted
                    .entry(secret.to_owned())
                    .or_default()
                    .insert(key.to_owned());
            }
            for source in items(&container["envFrom"]).filter(|source| source["secretRef"].is_object()) {
                wanted
                    .entry(text(&source["secretRef"]["name"]).to_owned())
                    .or_default();
            }
        }
        for volume in items(&pod(workload)["volumes"]).filter(|volume| volume["name"] == "keys") {
            let projected = items(&volume["projected"]["sources"]).map(|source| &source["secret"]["name"]);
            for secret in projected
                .chain([&volume["secret"]["secretName"]])
                .filter_map(Value::as_str)
            {
                let service = facts
                    .keys
                    .iter()
                    .find(|(service, _)| secret.ends_with(&format!("keys-{service}")));
                let files = service.map(|(_, files)| files.clone()).unwrap_or_default();
                wanted.entry(secret.to_owned()).or_default().extend(files);
            }
        }
    }
    for role in manifests
        .of("Cluster")
        .flat_map(|cluster| items(&cluster["spec"]["managed"]["roles"]))
    {
        let keys = wanted
            .entry(text(&role["passwordSecret"]["name"]).to_owned())
            .or_default();
        keys.extend(["username".to_owned(), "password".to_owned()]);
    }
    // The components of kustomize do not know each other: the Secrets of the roles are then made by hand.
    let by_hand = |secret: &str, key: &str| {
        let whole = manifests.find(
            "ExternalSecret",
            &format!("{}-owner", secret.trim_end_matches("-owner")),
        );
        whole.is_none() && ["username", "password"].contains(&key)
    };
    let mut found = Vec::new();
    for (secret, keys) in wanted {
        let external = manifests
            .of("ExternalSecret")
            .find(|external| external["spec"]["target"]["name"] == secret);
        let brought: BTreeSet<&str> = external
            .into_iter()
            .flat_map(|external| items(&external["spec"]["data"]))
            .filter(|data| data["secretKey"] == data["remoteRef"]["property"])
            .map(|data| text(&data["secretKey"]))
            .collect();
        let missing: Vec<&String> = keys
            .iter()
            .filter(|key| !brought.contains(key.as_str()) && !by_hand(&secret, key))
            .collect();
        let whole = external.is_some_and(|external| external["spec"]["dataFrom"].is_array());
        if external.is_none() && !keys.iter().all(|key| by_hand(&secret, key)) {
            found.push(format!("{secret} is in no ExternalSecret"));
        } else if keys.is_empty() && !whole {
            found.push(format!("{secret} is empty"));
        }
        found.extend(missing.iter().map(|key| format!("{secret} has no {key}")));
    }
    found
}

/// The certificate that a pod mounts is issued, and names the Service by which others call the pod.
pub(super) fn certificates(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.parta(), |workload| {
        let encrypted = encrypted(workload);
        let mounted = items(&pod(workload)["volumes"]).find(|volume| volume["name"] == "tls");
        let Some(mounted) = mounted else {
            return !encrypted;
        };
        let certificate = manifests
            .of("Certificate")
            .find(|certificate| certificate["spec"]["secretName"] == mounted["secret"]["secretName"]);
        let own = text(&workload["metadata"]["name"]);
        let section = own.replace('-', "_").to_uppercase();
        let address = setting(manifests, &format!("PARTA__{section}__ADDRESS"));
        let called =
            own == ALL || address.is_some_and(|address| address.starts_with(&format!("https://{own}:")));
        encrypted
            && called
            && certificate.is_some_and(|certificate| {
                let names: Vec<&str> = items(&certificate["spec"]["dnsNames"]).map(text).collect();
                !names.is_empty() && (own == ALL || names.contains(&own))
            })
    })
}

/// A pod that listens with TLS, and has a route, has a policy by which the gateway calls it with TLS and a
/// name of its certificate. A pod without TLS has none.
pub(super) fn backends(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let routes = manifests
        .of("GRPCRoute")
        .flat_map(|route| items(&route["spec"]["rules"]));
    let routed: BTreeSet<&str> = routes
        .flat_map(|rule| items(&rule["backendRefs"]))
        .map(|backend| text(&backend["name"]))
        .collect();
    let mut found = failing(manifests.parta(), |workload| {
        let own = text(&workload["metadata"]["name"]);
        let service = format!("{own}-public");
        let policies: Vec<&Value> = manifests
            .of("BackendTLSPolicy")
            .filter(|policy| {
                items(&policy["spec"]["targetRefs"])
                    .any(|target| target["kind"] == "Service" && target["name"] == service)
            })
            .collect();
        if !encrypted(workload) || !routed.contains(service.as_str()) {
            return policies.is_empty();
        }
        let secret = items(&pod(workload)["volumes"])
            .find(|volume| volume["name"] == "tls")
            .map(|volume| &volume["secret"]["secretName"]);
        let names: Vec<&str> = manifests
            .of("Certificate")
            .filter(|certificate| Some(&certificate["spec"]["secretName"]) == secret)
            .flat_map(|certificate| items(&certificate["spec"]["dnsNames"]))
            .map(text)
            .collect();
        policies.len() == 1
            && policies.iter().all(|policy| {
                let validation = &policy["spec"]["validation"];
                let authority = items(&validation["caCertificateRefs"])
                    .any(|by| by["kind"] == "ConfigMap" && by["group"] == "");
                // Only one pod with all services may have a certificate of a public authority.
                let public = own == ALL && validation["wellKnownCACertificates"] == "System";
                names.contains(&text(&validation["hostname"])) && authority != public
            })
    });
    let known = |policy: &Value| {
        items(&policy["spec"]["targetRefs"]).all(|target| routed.contains(text(&target["name"])))
    };
    found.extend(failing(manifests.of("BackendTLSPolicy"), known));
    found
}

/// A server that is rendered is the one that the settings name.
pub(super) fn servers(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    for (server, variable) in [
        ("nats", "PARTA__BUS__URL"),
        ("otel-collector", "PARTA__TELEMETRY__OTLP_ENDPOINT"),
    ] {
        if !manifests
            .workloads()
            .any(|workload| workload["metadata"]["name"] == server)
        {
            continue;
        }
        let address = setting(manifests, variable).unwrap_or("");
        let host = address
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once(':'))
            .map(|(host, _)| host);
        let listens = manifests.find("Service", server).is_some_and(|service| {
            items(&service["spec"]["ports"]).any(|port| port["port"].as_u64() == port_of(address))
        });
        if host != Some(server) || !listens {
            found.push(format!("{variable} is {address:?}, not the address of {server}"));
        }
    }
    found
}

/// The policy of an optional server admits all pods of Parta, and on that port nothing else.
pub(super) fn callers(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let own: BTreeSet<&str> = manifests
        .parta()
        .map(|workload| text(&workload["metadata"]["name"]))
        .collect();
    let databases = manifests
        .of("Cluster")
        .map(|cluster| text(&cluster["metadata"]["name"]));
    for (server, port) in databases
        .map(|database| (database, 5432))
        .chain([("nats", 4222), ("otel-collector", 4317)])
    {
        let Some(policy) = manifests.find("NetworkPolicy", server) else {
            if manifests.find("Cluster", server).is_some() {
                found.push(format!("{server} has no policy"));
            }
            continue;
        };
        let rules = items(&policy["spec"]["ingress"]).filter(|rule| {
            items(&rule["ports"]).next().is_none() || items(&rule["ports"]).any(|p| p["port"] == port)
        });
        let mut admitted = BTreeSet::new();
        for rule in rules {
            let peers: Vec<&Value> = items(&rule["from"]).collect();
            if peers.is_empty() {
                found.push(format!("{server} admits everybody"));
            }
            for peer in peers {
                let labels = &peer["podSelector"]["matchLabels"];
                let namespace =
                    text(&peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]);
                let itself = labels["cnpg.io/cluster"] == server;
                match labels["app.kubernetes.io/name"].as_str() {
                    Some(name) => drop(admitted.insert(name)),
                    None if itself || (port == 5432 && namespace.starts_with("cnpg")) => {}
                    None => found.push(format!("{server} admits {peer}")),
                }
            }
        }
        if admitted != own {
            found.push(format!("{server} admits {admitted:?}"));
        }
        for workload in manifests.parta() {
            let reaches = super::network::policy(manifests, workload).is_some_and(|policy| {
                items(&policy["spec"]["egress"]).any(|rule| {
                    items(&rule["ports"]).any(|p| p["port"] == port)
                        && items(&rule["to"]).any(|peer| {
                            let labels = &peer["podSelector"]["matchLabels"];
                            labels["app.kubernetes.io/name"] == server || labels["cnpg.io/cluster"] == server
                        })
                })
            });
            if !reaches {
                found.push(format!("{} does not reach {server}", name(workload)));
            }
        }
    }
    found
}

/// A file that a setting names is in a folder that the container mounts, those that run first included,
/// and only the group reads files of Secrets.
pub(super) fn files(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let settings = manifests.find("ConfigMap", ALL).map(|map| &map["data"]);
    let shared: BTreeMap<&str, &str> = settings
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(variable, _)| variable.ends_with("_FILE"))
        .map(|(variable, path)| (variable.as_str(), text(path)))
        .collect();
    // Either both files of a certificate are named, or none: the binary refuses one without the other,
    // also to migrate.
    let pair = |container: &Value| {
        let named = |variable: &str| {
            shared.contains_key(variable) || items(&container["env"]).any(|named| named["name"] == variable)
        };
        named(CERTIFICATE) == named(CERTIFICATE_KEY)
    };
    failing(manifests.parta(), |workload| {
        let modes = items(&pod(workload)["volumes"])
            .flat_map(|volume| [&volume["secret"], &volume["projected"]])
            .filter(|source| source.is_object())
            .all(|source| source["defaultMode"] == 0o440);
        modes
            && containers(workload).all(|container| {
                let own = items(&container["env"])
                    .filter(|variable| text(&variable["name"]).ends_with("_FILE"))
                    .map(|variable| text(&variable["value"]));
                let mounted = |path: &str| {
                    items(&container["volumeMounts"])
                        .any(|mount| path.starts_with(&format!("{}/", text(&mount["mountPath"]))))
                };
                pair(container) && own.chain(shared.values().copied()).all(mounted)
            })
    })
}
