//! Rules that the schemas of Kubernetes do not know. Each is proved by a change that it alone finds (tests).
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    facts::Facts,
    manifests::{Manifests, containers, items, name, pod, selects},
};

type Rule = fn(&Manifests, &Facts) -> Vec<String>;

/// The rules by name.
pub(crate) const RULES: &[(&str, Rule)] = &[
    ("objects are unique", unique),
    ("selectors match the labels of their pods", selectors),
    ("references lead to objects", references),
    ("no Secret is rendered", secrets),
    ("arguments name a service", arguments),
    ("settings are keys of the configuration", settings),
    ("ports are those of the binary", ports),
    ("probes ask for health checks of the binary", probes),
    ("images are named by one digest", images),
    ("containers are hardened", hardened),
    ("no user id is fixed", user_ids),
    ("resources are requested, and only memory is limited", resources),
    ("pods use no token of the cluster", tokens),
    ("a pod has the keys of its own service", keys),
    ("the grace period covers the stop", grace),
    ("a rollout takes no replica away", rollouts),
    ("several replicas have a disruption budget", budgets),
    ("several replicas are spread", spread),
    ("services find replicas that are not ready", internal_services),
    ("clients reach ready replicas only", public_services),
    ("every pod has a network policy of both directions", policies),
    ("egress goes to the table of calls", egress),
    ("ingress comes from the table of calls and from clients", ingress),
    (
        "only membership reaches the mail server and the SMS gateway",
        delivery,
    ),
    ("the route has the public services and no other", route),
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

fn unique(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = manifests.0.iter().map(name);
    names.filter(|name| !seen.insert(name.clone())).collect()
}

fn selectors(manifests: &Manifests, _: &Facts) -> Vec<String> {
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
        one(&policy["spec"]["podSelector"]["matchLabels"])
    }));
    found
}

fn references(manifests: &Manifests, _: &Facts) -> Vec<String> {
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
    }
    for route in manifests.of("GRPCRoute") {
        for rule in items(&route["spec"]["rules"]) {
            for backend in items(&rule["backendRefs"]) {
                wants(route, "Service", &backend["name"]);
            }
        }
    }
    for workload in manifests.workloads() {
        let volumes: BTreeSet<&str> = items(&pod(workload)["volumes"])
            .map(|v| text(&v["name"]))
            .collect();
        let mounts = containers(workload).flat_map(|container| items(&container["volumeMounts"]));
        let lost = mounts
            .map(|mount| text(&mount["name"]))
            .filter(|mount| !volumes.contains(mount));
        found.extend(lost.map(|mount| format!("{} mounts {mount}, which is no volume", name(workload))));
    }
    found
}

fn secrets(manifests: &Manifests, _: &Facts) -> Vec<String> {
    manifests.of("Secret").map(name).collect()
}

fn arguments(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let own = text(&workload["metadata"]["name"]);
        let given = |container: &Value| {
            items(&container["args"])
                .map(text)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        facts.services.contains(own)
            && items(&pod(workload)["initContainers"])
                .map(given)
                .eq([vec!["migrate".to_owned(), own.to_owned()]])
            && items(&pod(workload)["containers"]).map(given).eq([vec![
                "serve".to_owned(),
                "--only".to_owned(),
                own.to_owned(),
            ]])
    })
}

fn settings(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let from_maps = manifests.of("ConfigMap").flat_map(|map| {
        let keys = map["data"].as_object().into_iter().flatten();
        keys.map(move |(key, _)| (name(map), key.clone()))
    });
    let from_containers = manifests.workloads().flat_map(|workload| {
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

fn ports(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let mut found = failing(manifests.workloads(), |workload| {
        items(&pod(workload)["containers"]).all(|container| {
            let mut names = BTreeSet::new();
            let ports: Vec<&Value> = items(&container["ports"]).collect();
            ports.len() == 1
                && ports
                    .iter()
                    .all(|port| port["containerPort"] == facts.port && names.insert(text(&port["name"])))
        })
    });
    let names: BTreeSet<&str> = manifests
        .workloads()
        .flat_map(containers)
        .flat_map(|container| items(&container["ports"]))
        .map(|port| text(&port["name"]))
        .collect();
    found.extend(failing(manifests.of("Service"), |service| {
        items(&service["spec"]["ports"])
            .all(|port| port["port"] == facts.port && names.contains(text(&port["targetPort"])))
    }));
    found.extend(failing(manifests.of("GRPCRoute"), |route| {
        items(&route["spec"]["rules"])
            .flat_map(|rule| items(&rule["backendRefs"]))
            .all(|backend| backend["port"] == facts.port)
    }));
    found
}

fn probes(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        items(&pod(workload)["containers"]).all(|container| {
            [
                ("startupProbe", "startup"),
                ("readinessProbe", "readiness"),
                ("livenessProbe", "liveness"),
            ]
            .iter()
            .all(|(probe, health)| {
                let asked = &container[*probe]["grpc"];
                asked["service"] == *health && facts.health.contains(*health) && asked["port"] == facts.port
            })
        })
    })
}

fn images(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let all: BTreeSet<&str> = manifests
        .workloads()
        .flat_map(containers)
        .map(|container| text(&container["image"]))
        .collect();
    if all.len() > 1 {
        return all.into_iter().map(str::to_owned).collect();
    }
    all.into_iter()
        .filter(|image| !image.contains("@sha256:") || image.contains(":latest"))
        .map(str::to_owned)
        .collect()
}

fn hardened(manifests: &Manifests, _: &Facts) -> Vec<String> {
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

fn user_ids(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let contexts = containers(workload).map(|container| &container["securityContext"]);
        contexts
            .chain([&pod(workload)["securityContext"]])
            .all(|security| {
                ["runAsUser", "runAsGroup", "fsGroup"]
                    .iter()
                    .all(|key| security[*key].is_null())
            })
    })
}

fn resources(manifests: &Manifests, _: &Facts) -> Vec<String> {
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

fn tokens(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut found = failing(manifests.workloads(), |workload| {
        pod(workload)["automountServiceAccountToken"] == false && pod(workload)["enableServiceLinks"] == false
    });
    found.extend(failing(manifests.of("ServiceAccount"), |account| {
        account["automountServiceAccountToken"] == false
    }));
    found
}

fn keys(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for workload in manifests.workloads() {
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

fn grace(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let settings = manifests.find("ConfigMap", "parta").map(|map| &map["data"]);
    let seconds = settings.and_then(|data| text(&data["PARTA__SERVER__GRACE_SECONDS"]).parse::<u64>().ok());
    failing(manifests.workloads(), |workload| {
        let period = pod(workload)["terminationGracePeriodSeconds"].as_u64();
        seconds
            .zip(period)
            .is_some_and(|(seconds, period)| period > seconds)
    })
}

fn rollouts(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.of("Deployment"), |deployment| {
        let strategy = &deployment["spec"]["strategy"];
        strategy["type"] == "RollingUpdate" && strategy["rollingUpdate"]["maxUnavailable"] == 0
    })
}

fn replicas(workload: &Value) -> u64 {
    workload["spec"]["replicas"].as_u64().unwrap_or(1)
}

fn budgets(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let budget = |workload: &Value| {
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        manifests
            .of("PodDisruptionBudget")
            .find(|budget| selects(&budget["spec"]["selector"]["matchLabels"], labels))
    };
    failing(manifests.workloads(), |workload| match budget(workload) {
        None => replicas(workload) == 1,
        Some(budget) => {
            let most = budget["spec"]["maxUnavailable"].as_u64();
            most.is_some_and(|most| most >= 1 && most < replicas(workload))
        }
    })
}

fn spread(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        items(&pod(workload)["topologySpreadConstraints"]).any(|constraint| {
            constraint["topologyKey"] == "kubernetes.io/hostname"
                && selects(&constraint["labelSelector"]["matchLabels"], labels)
        })
    })
}

/// Services consume each other's feeds before they are ready, and see all replicas behind a name.
fn internal_services(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let service = manifests.find("Service", text(&workload["metadata"]["name"]));
        service.is_some_and(|service| {
            service["spec"]["clusterIP"] == "None" && service["spec"]["publishNotReadyAddresses"] == true
        })
    })
}

fn public_services(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let routes = manifests
        .of("GRPCRoute")
        .flat_map(|route| items(&route["spec"]["rules"]));
    let backends = routes.flat_map(|rule| items(&rule["backendRefs"]));
    let waits = |backend: &&Value| {
        let service = manifests.find("Service", text(&backend["name"]));
        service.is_some_and(|service| service["spec"]["publishNotReadyAddresses"] != true)
    };
    let wrong = backends.filter(|backend| !waits(backend));
    wrong.map(|backend| text(&backend["name"]).to_owned()).collect()
}

fn policy<'a>(manifests: &'a Manifests, workload: &Value) -> Option<&'a Value> {
    let labels = &workload["spec"]["template"]["metadata"]["labels"];
    manifests
        .of("NetworkPolicy")
        .find(|policy| selects(&policy["spec"]["podSelector"]["matchLabels"], labels))
}

fn policies(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        policy(manifests, workload).is_some_and(|policy| {
            let types: BTreeSet<&str> = items(&policy["spec"]["policyTypes"]).map(text).collect();
            let open = |direction: &str, peers: &str| {
                items(&policy["spec"][direction]).any(|rule| {
                    items(&rule[peers]).next().is_none() || items(&rule["ports"]).next().is_none()
                })
            };
            types == BTreeSet::from(["Ingress", "Egress"])
                && !open("egress", "to")
                && !open("ingress", "from")
        })
    })
}

/// The services that the peers of a policy's rules select, on the port of the services.
fn selected(policy: &Value, direction: &str, peers: &str, facts: &Facts) -> BTreeSet<String> {
    let rules = items(&policy["spec"][direction]);
    let rules = rules.filter(|rule| items(&rule["ports"]).any(|port| port["port"] == facts.port));
    let labels = rules
        .flat_map(|rule| items(&rule[peers]))
        .map(|peer| text(&peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]));
    labels
        .filter(|label| !label.is_empty())
        .map(str::to_owned)
        .collect()
}

fn egress(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let wanted = facts.peers.get(text(&workload["metadata"]["name"]));
        let policy = policy(manifests, workload);
        wanted
            .zip(policy)
            .is_some_and(|(wanted, policy)| selected(policy, "egress", "to", facts) == *wanted)
    })
}

fn ingress(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let own = text(&workload["metadata"]["name"]);
        let callers = facts.peers.iter().filter(|(_, called)| called.contains(own));
        let callers: BTreeSet<String> = callers.map(|(caller, _)| caller.clone()).collect();
        policy(manifests, workload).is_some_and(|policy| {
            let clients = items(&policy["spec"]["ingress"])
                .flat_map(|rule| items(&rule["from"]))
                .filter(|peer| peer["podSelector"]["matchLabels"]["app.kubernetes.io/part-of"] != "parta");
            selected(policy, "ingress", "from", facts) == callers && clients.count() > 0
        })
    })
}

fn delivery(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.workloads(), |workload| {
        let outside = policy(manifests, workload).is_some_and(|policy| {
            items(&policy["spec"]["egress"])
                .flat_map(|rule| items(&rule["to"]))
                .any(|peer| peer["ipBlock"].is_object())
        });
        outside == (workload["metadata"]["name"] == "membership")
    })
}

fn route(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.of("GRPCRoute"), |route| {
        let mut routed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for rule in items(&route["spec"]["rules"]) {
            let to = items(&rule["backendRefs"])
                .map(|backend| text(&backend["name"]))
                .next()
                .unwrap_or("");
            let to = to.strip_suffix("-public").unwrap_or(to);
            let methods =
                items(&rule["matches"]).map(|matched| text(&matched["method"]["service"]).to_owned());
            routed.entry(to.to_owned()).or_default().extend(methods);
        }
        routed == facts.public
    })
}
