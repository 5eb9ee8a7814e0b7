//! Each rule finds the mistake that it is for.
use serde_json::{Value, json};

use super::{facts::Facts, manifests::Manifests, read, rules};

/// The committed render with the route, which obeys all rules.
fn committed() -> Manifests {
    let mut manifests = Manifests::parse(&read("k8s/base/parta.yaml").unwrap()).unwrap();
    let route = Manifests::parse(&read("k8s/components/gateway-api/route.yaml").unwrap()).unwrap();
    manifests.0.extend(route.0);
    manifests
}

/// The object at `kind/name` of the manifests.
fn at<'a>(manifests: &'a mut Manifests, kind: &str, name: &str) -> &'a mut Value {
    let found = |object: &&mut Value| object["kind"] == kind && object["metadata"]["name"] == name;
    manifests.0.iter_mut().find(found).unwrap()
}

/// Sets the value at a JSON pointer of the object, or removes it where the value is null.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    let key = key.replace("~1", "/");
    match parent {
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        _ if value.is_null() => drop(parent.as_object_mut().unwrap().remove(&key)),
        _ => parent[key] = value,
    }
}

const POD: &str = "/spec/template/spec";

/// Rule, kind, name, pointer, value.
fn mutations() -> Vec<(&'static str, &'static str, &'static str, String, Value)> {
    let container = |path: &str| format!("{POD}/containers/0{path}");
    vec![
        (
            "selectors match the labels of their pods",
            "Service",
            "chat",
            "/spec/selector/app.kubernetes.io~1name".into(),
            json!("chats"),
        ),
        (
            "selectors match the labels of their pods",
            "Deployment",
            "chat",
            "/spec/selector/matchLabels".into(),
            json!({"app.kubernetes.io/name": "membership"}),
        ),
        (
            "selectors match the labels of their pods",
            "NetworkPolicy",
            "chat",
            "/spec/podSelector/matchLabels".into(),
            json!({}),
        ),
        (
            "references lead to objects",
            "Deployment",
            "chat",
            format!("{POD}/serviceAccountName"),
            json!("chats"),
        ),
        (
            "references lead to objects",
            "Deployment",
            "chat",
            container("/envFrom/0/configMapRef/name"),
            json!("settings"),
        ),
        (
            "references lead to objects",
            "Deployment",
            "chat",
            container("/volumeMounts/0/name"),
            json!("key"),
        ),
        (
            "references lead to objects",
            "GRPCRoute",
            "parta",
            "/spec/rules/0/backendRefs/0/name".into(),
            json!("calls"),
        ),
        (
            "no Secret is rendered",
            "ServiceAccount",
            "chat",
            "/kind".into(),
            json!("Secret"),
        ),
        (
            "arguments name a service",
            "Deployment",
            "chat",
            container("/args/2"),
            json!("membership"),
        ),
        (
            "arguments name a service",
            "Deployment",
            "chat",
            format!("{POD}/initContainers"),
            json!([]),
        ),
        (
            "settings are keys of the configuration",
            "ConfigMap",
            "parta",
            "/data/PARTA__SERVER__GRACE".into(),
            json!("1"),
        ),
        (
            "settings are keys of the configuration",
            "Deployment",
            "chat",
            container("/env/0/name"),
            json!("PARTA__CHAT__DATABASE"),
        ),
        (
            "ports are those of the binary",
            "Deployment",
            "chat",
            container("/ports/0/containerPort"),
            json!(7711),
        ),
        (
            "ports are those of the binary",
            "Service",
            "chat",
            "/spec/ports/0/targetPort".into(),
            json!("http"),
        ),
        (
            "ports are those of the binary",
            "GRPCRoute",
            "parta",
            "/spec/rules/0/backendRefs/0/port".into(),
            json!(80),
        ),
        (
            "probes ask for health checks of the binary",
            "Deployment",
            "chat",
            container("/readinessProbe/grpc/service"),
            json!("ready"),
        ),
        (
            "probes ask for health checks of the binary",
            "Deployment",
            "chat",
            container("/livenessProbe"),
            Value::Null,
        ),
        (
            "images are named by one digest",
            "Deployment",
            "chat",
            container("/image"),
            json!("registry.example/parta/parta:1.0"),
        ),
        (
            "containers are hardened",
            "Deployment",
            "chat",
            container("/securityContext/readOnlyRootFilesystem"),
            json!(false),
        ),
        (
            "containers are hardened",
            "Deployment",
            "chat",
            format!("{POD}/initContainers/0/securityContext/capabilities"),
            json!({"drop": []}),
        ),
        (
            "containers are hardened",
            "Deployment",
            "chat",
            format!("{POD}/hostNetwork"),
            json!(true),
        ),
        (
            "no user id is fixed",
            "Deployment",
            "chat",
            container("/securityContext/runAsUser"),
            json!(65532),
        ),
        (
            "resources are requested, and only memory is limited",
            "Deployment",
            "chat",
            container("/resources/limits/cpu"),
            json!("1"),
        ),
        (
            "resources are requested, and only memory is limited",
            "Deployment",
            "chat",
            container("/resources/requests/memory"),
            Value::Null,
        ),
        (
            "pods use no token of the cluster",
            "Deployment",
            "chat",
            format!("{POD}/automountServiceAccountToken"),
            json!(true),
        ),
        (
            "a pod has the keys of its own service",
            "Deployment",
            "chat",
            format!("{POD}/volumes/0/secret/secretName"),
            json!("parta-keys-membership"),
        ),
        (
            "the grace period covers the stop",
            "Deployment",
            "chat",
            format!("{POD}/terminationGracePeriodSeconds"),
            json!(20),
        ),
        (
            "a rollout takes no replica away",
            "Deployment",
            "chat",
            "/spec/strategy/rollingUpdate/maxUnavailable".into(),
            json!(1),
        ),
        (
            "several replicas have a disruption budget",
            "Deployment",
            "chat",
            "/spec/replicas".into(),
            json!(3),
        ),
        (
            "several replicas are spread",
            "Deployment",
            "chat",
            format!("{POD}/topologySpreadConstraints"),
            json!([]),
        ),
        (
            "services find replicas that are not ready",
            "Service",
            "chat",
            "/spec/clusterIP".into(),
            Value::Null,
        ),
        (
            "services find replicas that are not ready",
            "Service",
            "chat",
            "/spec/publishNotReadyAddresses".into(),
            Value::Null,
        ),
        (
            "clients reach ready replicas only",
            "GRPCRoute",
            "parta",
            "/spec/rules/0/backendRefs/0/name".into(),
            json!("call-scheduling"),
        ),
        (
            "every pod has a network policy of both directions",
            "NetworkPolicy",
            "chat",
            "/spec/policyTypes".into(),
            json!(["Ingress"]),
        ),
        (
            "every pod has a network policy of both directions",
            "NetworkPolicy",
            "chat",
            "/spec/egress/0/to".into(),
            Value::Null,
        ),
        (
            "egress goes to the table of calls",
            "NetworkPolicy",
            "invitation",
            "/spec/egress/1/to/0/podSelector/matchLabels/app.kubernetes.io~1name".into(),
            json!("chat"),
        ),
        (
            "ingress comes from the table of calls and from clients",
            "NetworkPolicy",
            "chat",
            "/spec/ingress/0/from".into(),
            json!([{"ipBlock": {"cidr": "10.0.0.0/8"}}]),
        ),
        (
            "only membership reaches the mail server and the SMS gateway",
            "NetworkPolicy",
            "chat",
            "/spec/egress/2/to/0".into(),
            json!({"ipBlock": {"cidr": "0.0.0.0/0"}}),
        ),
        (
            "the route has the public services and no other",
            "GRPCRoute",
            "parta",
            "/spec/rules/0/matches/0/method/service".into(),
            json!("parta.chat.internal.v1.AnnouncementService"),
        ),
    ]
}

fn broken_rules(manifests: &Manifests, facts: &Facts) -> Vec<String> {
    let found = rules::violations(manifests, facts);
    let mut names: Vec<String> = found
        .iter()
        .filter_map(|v| v.split_once(": "))
        .map(|(name, _)| name.to_owned())
        .collect();
    names.dedup();
    names
}

#[test]
fn the_committed_render_obeys_the_rules() {
    assert_eq!(
        rules::violations(&committed(), &Facts::read().unwrap()),
        Vec::<String>::new()
    );
}

#[test]
fn each_mistake_is_found_by_its_rule() {
    let (mutations, facts) = (mutations(), Facts::read().unwrap());
    assert!(mutations.len() >= 25);
    for (rule, kind, name, pointer, value) in &mutations {
        let mut manifests = committed();
        set(at(&mut manifests, kind, name), pointer, value.clone());
        let broken = broken_rules(&manifests, &facts);
        assert!(
            broken.iter().any(|found| found == rule),
            "{kind}/{name} {pointer}: {broken:?}, not {rule}"
        );
    }
}

#[test]
fn an_object_that_stands_twice_is_found() {
    let mut manifests = committed();
    let first = manifests.0[0].clone();
    manifests.0.push(first);
    assert!(broken_rules(&manifests, &Facts::read().unwrap()).contains(&"objects are unique".to_owned()));
}

#[test]
fn every_rule_has_a_mistake_that_it_finds() {
    let mutations = mutations();
    for (rule, _) in rules::RULES
        .iter()
        .filter(|(rule, _)| *rule != "objects are unique")
    {
        assert!(
            mutations.iter().any(|(proved, ..)| proved == rule),
            "{rule} is not proved"
        );
    }
}
