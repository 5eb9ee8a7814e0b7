//! Each rule finds the mistake that it is for.
mod monitoring;
mod network;
mod parts;
mod services;

use serde_json::{Value, json};

use super::{
    components::COMPONENTS,
    facts::Facts,
    manifests::{Manifests, items},
    read, rules,
    versions::immutable,
};

/// Every committed render: all obey the rules, and the mutations change them.
fn committed(of: &str) -> Manifests {
    let single = Manifests::parse(&read("k8s/single-node/parta.yaml").unwrap()).unwrap();
    if of == "single-node" {
        return single;
    }
    let mut manifests = Manifests::parse(&read("k8s/base/parta.yaml").unwrap()).unwrap();
    let kustomization = read(format!("k8s/components/{of}/kustomization.yaml")).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&kustomization).unwrap();
    for patch in items(&kustomization["patches"]) {
        let (kind, name) = (&patch["target"]["kind"], &patch["target"]["name"]);
        let object = at(&mut manifests, kind.as_str().unwrap(), name.as_str().unwrap());
        let operations: Value = serde_saphyr::from_str(patch["patch"].as_str().unwrap()).unwrap();
        for operation in items(&operations) {
            set(
                object,
                operation["path"].as_str().unwrap(),
                operation["value"].clone(),
            );
        }
    }
    let added = read(format!("k8s/components/{of}/{of}.yaml")).unwrap();
    manifests.0.extend(Manifests::parse(&added).unwrap().0);
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
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        _ if value.is_null() => drop(parent.as_object_mut().unwrap().remove(&key)),
        _ => parent[key] = value,
    }
}

/// The place where the specification of a workload's pods is.
const POD: &str = "/spec/template/spec";

/// Render, rule, kind, name, pointer, value.
type Mutation = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    String,
    Value,
);

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
fn committed_renders_obey_the_rules() {
    let facts = Facts::read().unwrap();
    let components = COMPONENTS.iter().map(|(component, _)| *component);
    for of in components.chain(["single-node"]) {
        let found = rules::violations(&committed(of), &facts);
        assert_eq!(found, Vec::<String>::new(), "{of}");
    }
}

/// Applies each mistake to its render and asserts that its rule finds it.
fn assert_found(mutations: &[Mutation]) {
    let facts = Facts::read().unwrap();
    for (of, rule, kind, name, pointer, value) in mutations {
        let mut manifests = committed(of);
        set(at(&mut manifests, kind, name), pointer, value.clone());
        let broken = broken_rules(&manifests, &facts);
        assert!(
            broken.iter().any(|found| found == rule),
            "{of}, {kind}/{name} {pointer}: {broken:?}, not {rule}"
        );
    }
}

#[test]
fn each_mistake_is_found_by_its_rule() {
    let mutations = services::mutations();
    assert!(mutations.len() >= 25);
    assert_found(&mutations);
}

#[test]
fn each_mistake_in_a_part_is_found_by_its_rule() {
    let mutations = parts::mutations();
    assert!(mutations.len() >= 25);
    assert_found(&mutations);
    assert_found(&monitoring::mutations());
}

#[test]
fn each_mistake_in_a_policy_is_found_by_its_rule() {
    assert_found(&network::mutations());
    assert_found(&network::shared());
}

#[test]
fn an_object_that_stands_twice_is_found() {
    let mut manifests = committed("gateway-api");
    let first = manifests.0[0].clone();
    manifests.0.push(first);
    assert!(broken_rules(&manifests, &Facts::read().unwrap()).contains(&"objects are unique".to_owned()));
}

#[test]
fn every_rule_has_a_mistake_that_it_finds() {
    let all = [
        services::mutations(),
        parts::mutations(),
        monitoring::mutations(),
        network::mutations(),
        network::shared(),
    ]
    .concat();
    for (rule, _) in rules::RULES
        .iter()
        .filter(|(rule, _)| *rule != "objects are unique")
    {
        assert!(
            all.iter().any(|(_, proved, ..)| proved == rule),
            "{rule} is not proved"
        );
    }
}

#[test]
fn external_secret_that_is_missing_is_found() {
    let mut manifests = committed("external-secrets");
    manifests
        .0
        .retain(|object| object["metadata"]["name"] != "parta-delivery");
    let broken = broken_rules(&manifests, &Facts::read().unwrap());
    assert_eq!(broken, ["external Secrets have the keys that pods read"]);
}

/// Only the image of this repository waits for a release.
#[test]
fn digest_of_zeros_of_another_image_is_found() {
    let mut manifests = committed("nats");
    let nats = at(&mut manifests, "StatefulSet", "nats");
    let image = json!(format!("registry.example/nats@sha256:{:064}", 0));
    set(nats, &format!("{POD}/containers/0/image"), image);
    let broken = broken_rules(&manifests, &Facts::read().unwrap());
    assert_eq!(broken, ["images are named by one digest"]);
}

#[test]
fn openshift_refuses_ids_that_other_platforms_need() {
    for (of, name) in [("single-node", "StatefulSet/parta"), ("nats", "StatefulSet/nats")] {
        assert_eq!(rules::chosen_ids(&committed(of)), [name]);
    }
    assert!(rules::chosen_ids(&committed("otel")).is_empty());
}

#[test]
fn services_with_one_pod_are_found() {
    assert!(rules::single(&committed("replicas")).is_empty());
    assert_eq!(rules::single(&committed("hpa")).len(), 3);
    assert_eq!(rules::single(&committed("otel")).len(), 5);
}

/// A version in a field that Kubernetes never lets change is found by comparing two versions.
#[test]
fn immutable_fields_are_compared() {
    let before = immutable(&committed("single-node"));
    let claim = "/spec/volumeClaimTemplates/0";
    for (kind, name, pointer) in [
        ("StatefulSet", "parta", format!("{claim}/metadata/labels")),
        ("StatefulSet", "parta", format!("{claim}/spec/resources")),
        (
            "StatefulSet",
            "parta",
            "/spec/selector/matchLabels/version".to_owned(),
        ),
        ("StatefulSet", "parta", "/spec/serviceName".to_owned()),
        ("Service", "parta", "/spec/clusterIP".to_owned()),
    ] {
        let mut manifests = committed("single-node");
        set(at(&mut manifests, kind, name), &pointer, json!({"version": "2"}));
        assert_ne!(immutable(&manifests), before, "{pointer}");
    }
}

/// The validators get an object once, unless it differs in more than the digest of the settings.
#[test]
fn objects_of_several_renders_are_validated_once() {
    let workload = |digest: &str, replicas: u8| {
        format!(
            "kind: Deployment\nspec: {{replicas: {replicas}, template: {{metadata: {{annotations: \
             {{parta/config: {digest}, other: {digest}}}}}}}}}\n"
        )
    };
    let digest =
        |digest: &str| workload("x", 1).replace("parta/config: x", &format!("parta/config: {digest}"));
    let render = |name: &str, text: String| (name.to_owned(), text);
    let renders = [
        render("first", digest("a")),
        render("same", digest("b")),
        render("other", workload("a", 1)),
        render("scaled", format!("{}\n---\n{}", digest("a"), workload("x", 2))),
    ];
    let found = super::distinct_objects(renders.iter()).unwrap();
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["first", "other", "scaled"]);
    assert_eq!(found[2].1.trim(), workload("x", 2).trim());
}
