//! The network: Services, policies and the route.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{ALL, failing, setting, text};
use crate::k8s::{
    facts::Facts,
    manifests::{Manifests, items, selects},
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

pub(super) fn selected(policy: &Value, direction: &str, peers: &str, facts: &Facts) -> BTreeSet<String> {
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

pub(super) fn egress(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.parta(), |workload| {
        // One process with all services calls none over the network.
        let (own, none) = (text(&workload["metadata"]["name"]), BTreeSet::new());
        let wanted = facts.peers.get(own).or((own == ALL).then_some(&none));
        let policy = policy(manifests, workload);
        wanted
            .zip(policy)
            .is_some_and(|(wanted, policy)| selected(policy, "egress", "to", facts) == *wanted)
    })
}

pub(super) fn ingress(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    failing(manifests.parta(), |workload| {
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

pub(super) fn delivery(manifests: &Manifests, _: &Facts) -> Vec<String> {
    failing(manifests.parta(), |workload| {
        let outside = policy(manifests, workload).is_some_and(|policy| {
            items(&policy["spec"]["egress"])
                .flat_map(|rule| items(&rule["to"]))
                .any(|peer| peer["ipBlock"].is_object())
        });
        outside == ["membership", ALL].contains(&text(&workload["metadata"]["name"]))
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
