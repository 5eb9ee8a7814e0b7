//! Mistakes in the policies, which add a connection or lose one.
use serde_json::{Value, json};

use super::Mutation;

/// Render, rule, policy, pointer, value.
type Change = (&'static str, &'static str, &'static str, &'static str, Value);

/// Mistakes in the policies of each render.
pub(super) fn mutations() -> Vec<Mutation> {
    let everything = || json!({"namespaceSelector": {}});
    let open = |port: u64, peer: Value| json!({"ports": [{"port": port, "protocol": "TCP"}], "to": [peer]});
    let monitoring =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}});
    let calls = "egress goes to the table of calls";
    let callers = "ingress comes from the table of calls and from clients";
    let servers = "pods reach their servers and nothing else";
    let empty = "no peer is selected by an empty selector";
    let public = "addresses outside of the cluster are public ones";
    let exceptions = "exceptions lie within their network";
    let to = |cidr: &str, except: &[&str]| json!({"ipBlock": {"cidr": cidr, "except": except}});
    let forwards = "the collector reaches the one to which it forwards";
    let mutations: Vec<Change> = vec![
        (
            "gateway-api",
            calls,
            "chat",
            "/spec/egress/-",
            open(7710, everything()),
        ),
        ("gateway-api", calls, "chat", "/spec/egress/1/to/-", everything()),
        (
            "gateway-api",
            calls,
            "chat",
            "/spec/egress/1/to/-",
            json!({"podSelector": {}}),
        ),
        ("gateway-api", empty, "chat", "/spec/egress/1/to/-", everything()),
        (
            "gateway-api",
            empty,
            "chat",
            "/spec/ingress/0/from/-",
            json!({"podSelector": {}}),
        ),
        (
            "gateway-api",
            callers,
            "chat",
            "/spec/ingress/0/from/-",
            json!({"podSelector": {}}),
        ),
        (
            "gateway-api",
            callers,
            "chat",
            "/spec/ingress/0/from/-",
            monitoring.clone(),
        ),
        (
            "gateway-api",
            callers,
            "chat",
            "/spec/ingress/-",
            json!({"ports": [{"port": 7720, "protocol": "TCP"}], "from": [monitoring]}),
        ),
        (
            "gateway-api",
            servers,
            "chat",
            "/spec/egress/-",
            open(443, everything()),
        ),
        (
            "gateway-api",
            servers,
            "membership",
            "/spec/egress/-",
            open(443, monitoring.clone()),
        ),
        (
            "gateway-api",
            servers,
            "chat",
            "/spec/egress/2/to/-",
            monitoring.clone(),
        ),
        (
            "gateway-api",
            servers,
            "chat",
            "/spec/egress/3/to/-",
            monitoring.clone(),
        ),
        // Without an edge to the database, and with another port of NATS.
        (
            "gateway-api",
            servers,
            "chat",
            "/spec/egress/2/ports/0/port",
            json!(4222),
        ),
        (
            "gateway-api",
            servers,
            "chat",
            "/spec/egress/3/ports/0/port",
            json!(4223),
        ),
        (
            "single-node",
            servers,
            "parta",
            "/spec/egress/-",
            open(443, everything()),
        ),
        (
            "gateway-api",
            public,
            "membership",
            "/spec/egress/4/to/0/ipBlock/except",
            json!(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]),
        ),
        (
            "gateway-api",
            public,
            "membership",
            "/spec/egress/4/to/0/ipBlock/except/11",
            json!("255.0.0.0/8"),
        ),
        // NAT64 and 6to4 reach private addresses of IPv4.
        (
            "gateway-api",
            public,
            "membership",
            "/spec/egress/4/to/1/ipBlock/cidr",
            json!("::/0"),
        ),
        (
            "gateway-api",
            public,
            "membership",
            "/spec/egress/4/to/-",
            to("64::/16", &["64:ff9b::/96"]),
        ),
        (
            "gateway-api",
            public,
            "membership",
            "/spec/egress/4/to/-",
            to("64::/16", &["64:ff9b:1::/48"]),
        ),
        (
            "single-node",
            public,
            "parta",
            "/spec/egress/1/to/1/ipBlock/except/2",
            json!("2002::/24"),
        ),
        (
            "otel",
            public,
            "otel-collector",
            "/spec/egress/-",
            json!({"ports": [{"port": 443, "protocol": "TCP"}], "to": [to("0.0.0.0/0", &[])]}),
        ),
        (
            "gateway-api",
            exceptions,
            "membership",
            "/spec/egress/4/to/1/ipBlock/except/-",
            json!("64:ff9b::/96"),
        ),
        (
            "gateway-api",
            exceptions,
            "membership",
            "/spec/egress/4/to/1/ipBlock/except/-",
            json!("2000::/3"),
        ),
        // The API server takes it for a network of IPv4.
        (
            "gateway-api",
            exceptions,
            "membership",
            "/spec/egress/4/to/1",
            to("::/0", &["::ffff:0:0/96"]),
        ),
        (
            "gateway-api",
            exceptions,
            "chat",
            "/spec/ingress/0/from/-",
            to("10.0.0.0/8", &["10.0.0.0/8"]),
        ),
        (
            "gateway-api",
            public,
            "membership",
            "/spec/egress/4/to/1/ipBlock/except",
            Value::Null,
        ),
        (
            "otel",
            servers,
            "chat",
            "/spec/egress/4/ports/0/port",
            json!(4318),
        ),
        (
            "otel",
            forwards,
            "otel-collector",
            "/spec/egress/-",
            open(4317, monitoring),
        ),
    ];
    let mutations = mutations.into_iter();
    let mut all: Vec<Mutation> = mutations
        .map(|(of, rule, name, pointer, value)| (of, rule, "NetworkPolicy", name, pointer.to_owned(), value))
        .collect();
    // NATS elsewhere than the policy says, and a collector that forwards to a closed port.
    all.push((
        "gateway-api",
        servers,
        "ConfigMap",
        "parta",
        "/data/PARTA__BUS__URL".to_owned(),
        json!("nats://nats:4223"),
    ));
    all.push((
        "otel",
        forwards,
        "ConfigMap",
        "otel-collector",
        "/data/config.yaml".to_owned(),
        json!("exporters: {otlp: {endpoint: \"collector:443\"}}"),
    ));
    all.push((
        "otel",
        "settings of pods are no secrets",
        "ConfigMap",
        "otel-collector",
        "/data/config.yaml".to_owned(),
        json!("exporters: {otlp: {headers: {authorization: \"Bearer hunter2\"}}}"),
    ));
    all
}

/// Mistakes in what parts share with the services: settings, and connections to the database.
pub(super) fn shared() -> Vec<Mutation> {
    let hash = "/spec/template/metadata/annotations/parta~1config";
    let restarts = "a change of the settings restarts the pods";
    let changes = [
        ("nats", restarts, "StatefulSet", "nats", hash, Value::Null),
        ("otel", restarts, "Deployment", "otel-collector", hash, json!("")),
        ("otel", restarts, "Deployment", "chat", hash, Value::Null),
        (
            "cnpg",
            "a rollout leaves connections to the database",
            "Cluster",
            "parta-postgresql",
            "/spec/postgresql/parameters/max_connections",
            json!("100"),
        ),
    ];
    let mutations = changes.into_iter();
    mutations
        .map(|(of, rule, kind, name, pointer, value)| (of, rule, kind, name, pointer.to_owned(), value))
        .collect()
}
