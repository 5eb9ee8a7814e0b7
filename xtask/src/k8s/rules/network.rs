//! The network: Services, policies and the route.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{ALL, failing, port_of, setting, text};
use crate::k8s::{
    facts::Facts,
    manifests::{Manifests, items, name, selects},
};

pub(super) fn internal_services(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.parta(), |workload| {
        let service = manifests.find("Service", text(&workload["metadata"]["name"]));
        service.is_some_and(|service| {
            service["spec"]["clusterIP"] == "None" && service["spec"]["publishNotReadyAddresses"] == true
        })
    })
}

pub(super) fn public_services(manifests: &Manifests, _: &Facts) -> Vec<String> {
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

pub(super) fn policy<'a>(manifests: &'a Manifests, workload: &Value) -> Option<&'a Value> {
    let labels = &workload["spec"]["template"]["metadata"]["labels"];
    manifests
        .of("NetworkPolicy")
        .find(|policy| selects(&policy["spec"]["podSelector"]["matchLabels"], labels))
}

pub(super) fn policies(manifests: &Manifests, _: &Facts) -> Vec<String> {
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

/// One rule of a policy: its ports with their protocols, and its peers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Opening {
    ports: BTreeSet<String>,
    peers: BTreeSet<String>,
}

impl Opening {
    fn is_for(&self, port: u64) -> bool {
        self.ports.len() == 1 && self.ports.contains(&format!("TCP {port}"))
    }
}

/// All rules of a policy in one direction.
fn openings(policy: &Value, direction: &str, peers: &str) -> BTreeSet<Opening> {
    let port = |port: &Value| {
        if port["endPort"].is_null() {
            format!("{} {}", text(&port["protocol"]), port["port"])
        } else {
            port.to_string()
        }
    };
    items(&policy["spec"][direction])
        .map(|rule| Opening {
            ports: items(&rule["ports"]).map(port).collect(),
            peers: items(&rule[peers]).map(Value::to_string).collect(),
        })
        .collect()
}

/// The peer that is every pod of a service.
fn pods_of(service: &str) -> String {
    let labels = json!({"app.kubernetes.io/name": service, "app.kubernetes.io/part-of": ALL});
    json!({"podSelector": {"matchLabels": labels}}).to_string()
}

/// An empty selector selects everything.
pub(super) fn peers(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let narrow = |peer: &Value| {
        let selectors = [&peer["podSelector"], &peer["namespaceSelector"]];
        let narrow = selectors
            .iter()
            .filter(|selector| !selector.is_null())
            .all(|selector| {
                let labels = selector["matchLabels"].as_object();
                labels.is_some_and(|labels| !labels.is_empty())
                    || items(&selector["matchExpressions"]).count() > 0
            });
        let some = peer["ipBlock"].is_object() || selectors.iter().any(|selector| selector.is_object());
        narrow && some
    };
    failing(manifests.of("NetworkPolicy"), |policy| {
        let of = |direction: &str, peers: &str| {
            items(&policy["spec"][direction]).all(|rule| items(&rule[peers]).all(narrow))
        };
        of("ingress", "from") && of("egress", "to")
    })
}

/// The calls of each pod are those of the table, with no other peer on that port.
pub(super) fn egress(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.parta(), |workload| {
        // One process with all services calls none over the network.
        let (own, none) = (text(&workload["metadata"]["name"]), BTreeSet::new());
        let Some(wanted) = facts.peers.get(own).or((own == ALL).then_some(&none)) else {
            return false;
        };
        let called: BTreeSet<String> = policy(manifests, workload)
            .into_iter()
            .flat_map(|policy| openings(policy, "egress", "to"))
            .filter(|rule| {
                rule.ports
                    .iter()
                    .any(|port| port.contains(&facts.port.to_string()))
            })
            .flat_map(|rule| rule.peers)
            .collect();
        called == wanted.iter().map(|service| pods_of(service)).collect()
    })
}

/// The callers of each pod are those of the table, and the clients, which are the same for all pods. It has
/// no other rule.
pub(super) fn ingress(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let mut clients = BTreeSet::new();
    let mut found = failing_with(manifests, |own, policy| {
        let called = facts.peers.iter().filter(|(_, called)| called.contains(own));
        let callers: BTreeSet<String> = called.map(|(caller, _)| pods_of(caller)).collect();
        let rules = openings(policy, "ingress", "from");
        let admitted: BTreeSet<String> = rules.iter().flat_map(|rule| rule.peers.clone()).collect();
        let others: BTreeSet<String> = admitted.difference(&callers).cloned().collect();
        let outside = !others.is_empty()
            && !others
                .iter()
                .any(|peer| peer.contains(&format!("part-of\":\"{ALL}\"")));
        clients.insert(others);
        rules.len() == 1
            && rules.iter().all(|rule| rule.is_for(facts.port))
            && callers.is_subset(&admitted)
            && outside
    });
    if clients.len() > 1 {
        found.push(format!("clients differ: {clients:?}"));
    }
    found
}

/// Beside calls, every pod reaches names, its database, NATS and the collector by the same rules, and
/// membership the mail server and the SMS gateway, call-scheduling the media server. It has no other rule.
pub(super) fn servers(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let bus = setting(manifests, "PARTA__BUS__URL").and_then(port_of);
    let collector = setting(manifests, "PARTA__TELEMETRY__OTLP_ENDPOINT").and_then(port_of);
    let mut shared = BTreeSet::new();
    let mut found = failing_with(manifests, |own, policy| {
        let (mut names, mut buses, mut collectors, mut rest) = (0, 0, 0, Vec::new());
        let mut common = BTreeSet::new();
        for rule in openings(policy, "egress", "to") {
            let kind = if rule.is_for(facts.port) {
                continue;
            } else if rule.ports.iter().any(|port| port.starts_with("UDP ")) {
                &mut names
            } else if bus.is_some_and(|port| rule.is_for(port)) {
                &mut buses
            } else if collector.is_some_and(|port| rule.is_for(port)) {
                &mut collectors
            } else {
                rest.push(rule);
                continue;
            };
            *kind += 1;
            common.insert(rule);
        }
        // The database has one port in one rule; that of delivery is the only one with addresses of others.
        let delivers = reaches_others(manifests, own);
        let (delivery, databases): (Vec<Opening>, Vec<Opening>) = rest
            .into_iter()
            .partition(|rule| delivers && rule.peers.iter().all(|peer| peer.contains("ipBlock")));
        let expected = [1, usize::from(own != ALL), usize::from(collector.is_some())];
        let counted = [names, buses, collectors] == expected
            && databases.len() == usize::from(own != ALL)
            && databases.iter().all(|rule| rule.ports.len() == 1)
            && delivery.len() == usize::from(delivers);
        common.extend(databases);
        shared.insert(common);
        counted
    });
    if shared.len() > 1 {
        found.push(format!("the rules of the pods differ: {shared:?}"));
    }
    found
}

/// Applies a check to each pod of Parta that has a policy, with its name.
fn failing_with(manifests: &Manifests, mut holds: impl FnMut(&str, &Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for workload in manifests.parta() {
        let own = text(&workload["metadata"]["name"]);
        if !policy(manifests, workload).is_some_and(|policy| holds(own, policy)) {
            found.push(name(workload));
        }
    }
    found
}

/// Whether a pod reaches servers outside of the cluster: membership the mail server and the SMS gateway, and
/// call-scheduling the media server that its Secret names.
fn reaches_others(manifests: &Manifests, own: &str) -> bool {
    let mut calls = manifests
        .parta()
        .filter(|workload| workload["metadata"]["name"] == "call-scheduling");
    let names_media_server = calls.any(|workload| {
        let settings = &workload["spec"]["template"]["spec"]["containers"][0]["envFrom"];
        items(settings).any(|source| source["secretRef"].is_object())
    });
    ["membership", ALL].contains(&own) || (own == "call-scheduling" && names_media_server)
}

/// Only membership, and call-scheduling with a media server, reach addresses outside of the cluster.
pub(super) fn delivery(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.parta(), |workload| {
        let outside = policy(manifests, workload)
            .into_iter()
            .flat_map(|policy| items(&policy["spec"]["egress"]))
            .flat_map(|rule| items(&rule["to"]))
            .any(|peer| peer["ipBlock"].is_object());
        outside == reaches_others(manifests, text(&workload["metadata"]["name"]))
    })
}

/// The collector reaches names, and the port of the collector to which it forwards, if one is named.
pub(super) fn forwards(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let collector = manifests
        .workloads()
        .filter(|workload| workload["metadata"]["name"] == "otel-collector");
    failing(collector, |workload| {
        let settings = manifests.find("ConfigMap", "otel-collector");
        let settings = settings.map_or("", |map| text(&map["data"]["config.yaml"]));
        let settings: Value = serde_saphyr::from_str(settings).unwrap_or_default();
        let forward = settings["exporters"]["otlp"]["endpoint"]
            .as_str()
            .and_then(port_of);
        let Some(policy) = policy(manifests, workload) else {
            return false;
        };
        let rules = openings(policy, "egress", "to");
        let others: Vec<&Opening> = rules
            .iter()
            .filter(|rule| !rule.ports.iter().any(|port| port.starts_with("UDP ")))
            .collect();
        others.len() == usize::from(forward.is_some())
            && others
                .iter()
                .all(|rule| forward.is_some_and(|port| rule.is_for(port)))
    })
}

pub(super) fn route(manifests: &Manifests, facts: &Facts) -> Vec<String> {
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
        if let [(ALL, methods)] = &routed.iter().map(|(to, m)| (to.as_str(), m)).collect::<Vec<_>>()[..] {
            return **methods == facts.public.values().flatten().cloned().collect::<BTreeSet<_>>();
        }
        routed == facts.public
    })
}

/// Without the networks of the gateway, all clients of a route share the limits of one.
pub(super) fn proxies(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let named = setting(manifests, "PARTA__SERVER__TRUSTED_PROXIES").is_some_and(|list| list != "[]");
    failing(manifests.of("GRPCRoute"), |route| {
        named && items(&route["spec"]["hostnames"]).next().is_some()
    })
}

/// Clients of a load balancer are outside of the cluster, so that only addresses select them.
pub(super) fn balancers(manifests: &Manifests, _: &Facts) -> Vec<String> {
    let balancers = manifests
        .of("Service")
        .filter(|service| service["spec"]["type"] == "LoadBalancer");
    failing(balancers, |service| {
        manifests
            .workloads()
            .filter(|workload| {
                let labels = &workload["spec"]["template"]["metadata"]["labels"];
                selects(&service["spec"]["selector"], labels)
            })
            .filter_map(|workload| policy(manifests, workload))
            .flat_map(|policy| items(&policy["spec"]["ingress"]))
            .flat_map(|rule| items(&rule["from"]))
            .any(|peer| peer["ipBlock"].is_object())
    })
}
