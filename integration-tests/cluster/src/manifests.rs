//! The rendered manifests of the chart, as far as pods depend on them. A setting of a container that is not
//! known here is an error, so that none is ignored.
use std::collections::BTreeMap;

use serde_json::Value;

/// Secrets by name, each with its keys.
pub type Secrets = BTreeMap<String, BTreeMap<String, String>>;

/// A Deployment or a StatefulSet.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name, which is the name of the service; `parta` for all services in one pod.
    pub name: String,
    /// Number of its pods.
    pub replicas: usize,
    /// Seconds between the request to stop a pod and its end by force.
    pub grace_seconds: i32,
    /// The containers that run before the pod serves, in order.
    pub first: Vec<Container>,
    pub serves: Container,
    /// The port on which clients call it.
    pub port: u16,
    /// The port on which Kubernetes probes its health.
    pub health_port: u16,
}

/// A certificate that cert-manager makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The Secret that gets it.
    pub secret: String,
    /// The names of the server.
    pub names: Vec<String>,
}

/// A container, with the values of all references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Arguments of the entry point.
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// Its folders.
    pub mounts: Vec<Mount>,
    /// Whether its root cannot be written.
    pub read_only: bool,
    /// The capabilities that it does not have.
    pub dropped: Vec<String>,
    /// Whether its processes can get more privileges than they started with.
    pub escalation: bool,
    /// Whether it must not run as root.
    pub non_root: bool,
    /// Its user, if it is not that of the image.
    pub user: Option<String>,
    /// The group that owns its volumes, of which its processes are members.
    pub volume_group: Option<u32>,
    /// Limit of its memory in bytes.
    pub memory_bytes: i64,
}

/// A folder of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its path in the container.
    pub path: String,
    pub content: Content,
}

/// The content of a folder of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Files of Secrets, which cannot be written.
    Files(BTreeMap<String, String>),
    /// An empty folder, which ends with the pod.
    Empty,
    /// The volume of the claim with this name, which the next pod gets too.
    Volume(String),
}

/// Returns all Deployments and StatefulSets, with the values that the ConfigMaps and these Secrets have.
///
/// # Panics
///
/// Panics if the text has none, if a reference leads nowhere, or at a setting that is not known.
pub fn workloads(text: &str, secrets: &Secrets) -> Vec<Workload> {
    let objects = objects(text);
    let sources = Sources {
        objects: &objects,
        secrets,
    };
    let found: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == "Deployment" || object["kind"] == "StatefulSet")
        .map(|object| sources.workload(object))
        .collect();
    assert!(!found.is_empty(), "the render has no pods");
    found
}

/// Returns the certificates that cert-manager would make.
///
/// # Panics
///
/// Panics if the text has none, because the pods then serve without TLS.
pub fn certificates(text: &str) -> Vec<Certificate> {
    let objects = objects(text);
    let found: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == "Certificate")
        .map(|object| Certificate {
            secret: string(&object["spec"]["secretName"]),
            names: items(&object["spec"]["dnsNames"]).map(string).collect(),
        })
        .collect();
    assert!(!found.is_empty(), "the render has no certificate");
    found
}

fn objects(text: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

struct Sources<'a> {
    objects: &'a [Value],
    secrets: &'a Secrets,
}

impl Sources<'_> {
    fn workload(&self, object: &Value) -> Workload {
        let pod = &object["spec"]["template"]["spec"];
        let all = |list: &str| -> Vec<Container> {
            items(&pod[list])
                .map(|container| self.container(object, container))
                .collect()
        };
        let [serves] = <[Container; 1]>::try_from(all("containers")).expect("one container");
        let container = &pod["containers"][0];
        let mut ports = items(&container["ports"]);
        let public = ports.find(|port| port["name"] == "grpc").expect("a port of gRPC");
        let probe = &container["readinessProbe"]["grpc"];
        assert_eq!(probe["service"], "readiness");
        Workload {
            port: port(&public["containerPort"]),
            health_port: port(&probe["port"]),
            name: string(&object["metadata"]["name"]),
            replicas: object["spec"]["replicas"].as_u64().expect("replicas") as usize,
            grace_seconds: pod["terminationGracePeriodSeconds"]
                .as_i64()
                .expect("a grace period") as i32,
            first: all("initContainers"),
            serves,
        }
    }

    fn container(&self, object: &Value, container: &Value) -> Container {
        let pod = &object["spec"]["template"]["spec"];
        let security = |key: &str| match &container["securityContext"][key] {
            Value::Null => &pod["securityContext"][key],
            own => own,
        };
        known(
            &container["securityContext"],
            &[
                "allowPrivilegeEscalation",
                "capabilities",
                "readOnlyRootFilesystem",
                "runAsGroup",
                "runAsNonRoot",
                "runAsUser",
                "seccompProfile",
            ],
        );
        // The engine's own profile, which it uses if no other is set.
        assert_eq!(security("seccompProfile")["type"], "RuntimeDefault");
        let group = security("runAsGroup").as_u64();
        let user = security("runAsUser").as_u64();
        let volume_group = pod["securityContext"]["fsGroup"].as_u64();
        Container {
            arguments: items(&container["args"]).map(string).collect(),
            environment: self.environment(container),
            mounts: items(&container["volumeMounts"])
                .map(|mount| self.mount(object, pod, mount))
                .collect(),
            read_only: security("readOnlyRootFilesystem") == true,
            dropped: items(&security("capabilities")["drop"]).map(string).collect(),
            escalation: security("allowPrivilegeEscalation") != false,
            non_root: security("runAsNonRoot") == true,
            user: user.map(|user| format!("{user}:{}", group.unwrap_or_default())),
            volume_group: volume_group.map(|group| group.try_into().expect("a group")),
            memory_bytes: bytes(&string(&container["resources"]["limits"]["memory"])),
        }
    }

    fn environment(&self, container: &Value) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for source in items(&container["envFrom"]) {
            known(source, &["configMapRef", "secretRef"]);
            match source["configMapRef"]["name"].as_str() {
                Some(name) => all.extend(self.config_map(name)),
                None => all.extend(self.secret(&string(&source["secretRef"]["name"])).clone()),
            }
        }
        for variable in items(&container["env"]) {
            known(&variable["valueFrom"], &["secretKeyRef"]);
            let reference = &variable["valueFrom"]["secretKeyRef"];
            let value = match reference["name"].as_str() {
                None => string(&variable["value"]),
                Some(secret) => self.value(secret, &string(&reference["key"])),
            };
            all.insert(string(&variable["name"]), value);
        }
        all
    }

    fn config_map(&self, name: &str) -> BTreeMap<String, String> {
        let found = self
            .objects
            .iter()
            .find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == name);
        let found = found.unwrap_or_else(|| panic!("there is no ConfigMap {name}"));
        let data = found["data"].as_object().into_iter().flatten();
        data.map(|(key, value)| (key.clone(), string(value))).collect()
    }

    fn secret(&self, name: &str) -> &BTreeMap<String, String> {
        let found = self.secrets.get(name);
        found.unwrap_or_else(|| panic!("there is no Secret {name}"))
    }

    fn value(&self, secret: &str, key: &str) -> String {
        let value = self.secret(secret).get(key);
        value
            .unwrap_or_else(|| panic!("Secret {secret} has no key {key}"))
            .clone()
    }

    fn mount(&self, object: &Value, pod: &Value, mount: &Value) -> Mount {
        let path = string(&mount["mountPath"]);
        let mut claims = items(&object["spec"]["volumeClaimTemplates"]);
        if let Some(claim) = claims.find(|claim| claim["metadata"]["name"] == mount["name"]) {
            let content = Content::Volume(string(&claim["metadata"]["name"]));
            return Mount { path, content };
        }
        let mut volumes = items(&pod["volumes"]);
        let volume = volumes
            .find(|volume| volume["name"] == mount["name"])
            .expect("a volume");
        known(volume, &["name", "secret", "emptyDir", "projected"]);
        let secret = volume["secret"]["secretName"].as_str();
        let content = match (secret, volume["projected"].is_object()) {
            (Some(name), _) => Content::Files(self.secret(name).clone()),
            (None, true) => Content::Files(self.projected(&volume["projected"])),
            (None, false) => Content::Empty,
        };
        Mount { path, content }
    }

    /// The files of several Secrets in one folder.
    fn projected(&self, volume: &Value) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for source in items(&volume["sources"]) {
            known(source, &["secret"]);
            let name = string(&source["secret"]["name"]);
            if source["secret"]["items"].is_null() {
                files.extend(self.secret(&name).clone());
            }
            for item in items(&source["secret"]["items"]) {
                files.insert(string(&item["path"]), self.value(&name, &string(&item["key"])));
            }
        }
        files
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => panic!("{other} is not a text"),
    }
}

fn port(value: &Value) -> u16 {
    let port = value.as_u64().expect("a port");
    port.try_into().expect("a port")
}

/// Panics at a key that is not known.
fn known(value: &Value, keys: &[&str]) {
    for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
        assert!(keys.contains(&key.as_str()), "the setting {key} is not known");
    }
}

/// Parses a quantity of memory.
fn bytes(quantity: &str) -> i64 {
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("", 1)];
    let parsed = units.iter().find_map(|(unit, size)| {
        let number = quantity.strip_suffix(unit)?.parse::<i64>().ok()?;
        Some(number * size)
    });
    parsed.unwrap_or_else(|| panic!("{quantity} is not a quantity of memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered() -> String {
        committed("base/parta.yaml")
    }

    fn committed(path: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../k8s");
        std::fs::read_to_string(std::path::Path::new(folder).join(path)).unwrap()
    }

    fn secrets() -> Secrets {
        let mut secrets = Secrets::new();
        for service in parta::SERVICES {
            let name = service.name;
            let url = format!("postgres://postgresql/{name}");
            secrets.insert(
                format!("parta-database-{name}"),
                BTreeMap::from([("url".into(), url.clone()), ("migrate-url".into(), url)]),
            );
            let keys = BTreeMap::from([(format!("{name}.pem"), "key".into())]);
            secrets.insert(format!("parta-keys-{name}"), keys);
        }
        let delivery = BTreeMap::from([("PARTA__MEMBERSHIP__DELIVERY".into(), "smtp".into())]);
        secrets.insert("parta-delivery".into(), delivery);
        secrets
    }

    fn membership(text: &str) -> Workload {
        let all = workloads(text, &secrets());
        all.into_iter().find(|found| found.name == "membership").unwrap()
    }

    #[test]
    fn pod_migrates_and_serves_with_its_settings() {
        let membership = membership(&rendered());
        assert_eq!(membership.first[0].arguments, ["migrate", "membership"]);
        assert_eq!(membership.serves.arguments, ["serve", "--only", "membership"]);
        let environment = &membership.serves.environment;
        assert_eq!(environment["PARTA_PROFILE"], "kubernetes");
        assert_eq!(environment["PARTA__BUS__URL"], "nats://nats:4222");
        assert_eq!(environment["PARTA__MEMBERSHIP__DELIVERY"], "smtp");
        assert_eq!(
            environment["PARTA__MEMBERSHIP__DATABASE_URL"],
            "postgres://postgresql/membership"
        );
        let keys = &membership.serves.mounts[0];
        assert_eq!(keys.path, "/etc/parta/keys");
        let Content::Files(files) = &keys.content else {
            panic!("{:?} is no Secret", keys.content);
        };
        assert!(files.contains_key("membership.pem"));
        assert_eq!((membership.port, membership.health_port), (7710, 7710));
    }

    #[test]
    fn pod_with_all_services_keeps_its_volume() {
        let all = workloads(&committed("single-node/parta.yaml"), &secrets());
        let [pod] = all.as_slice() else {
            panic!("{} workloads", all.len());
        };
        assert_eq!(
            (pod.name.as_str(), pod.replicas, pod.first.len()),
            ("parta", 1, 0)
        );
        assert_eq!(pod.serves.volume_group, Some(65532));
        let content = |path: &str| {
            let mut mounts = pod.serves.mounts.iter();
            &mounts.find(|mount| mount.path == path).unwrap().content
        };
        assert_eq!(*content("/var/lib/parta"), Content::Volume("data".to_owned()));
        assert_eq!(*content("/tmp"), Content::Empty);
        let Content::Files(keys) = content("/etc/parta/keys") else {
            panic!("the keys are no Secret");
        };
        assert_eq!(keys.len(), parta::SERVICES.len());
    }

    #[test]
    fn certificates_have_the_names_of_their_services() {
        let found = certificates(&committed("components/cert-manager/cert-manager.yaml"));
        let chat = found.iter().find(|found| found.secret == "parta-tls-chat");
        assert_eq!(chat.unwrap().names, ["chat", "chat-public"]);
        assert_eq!(found.len(), parta::SERVICES.len());
    }

    #[test]
    #[should_panic(expected = "the render has no certificate")]
    fn render_without_certificates_is_refused() {
        certificates(&rendered());
    }

    #[test]
    fn hardening_of_a_container_is_read() {
        let serves = membership(&rendered()).serves;
        assert!(serves.read_only && serves.non_root && !serves.escalation);
        assert_eq!((serves.dropped, serves.user), (vec!["ALL".to_owned()], None));
        assert_eq!(serves.memory_bytes, 256 << 20);
    }

    #[test]
    #[should_panic(expected = "the setting privileged is not known")]
    fn unknown_setting_is_not_ignored() {
        let text = rendered().replace(
            "runAsNonRoot: true\n            cap",
            "privileged: true\n            cap",
        );
        membership(&text);
    }

    #[test]
    #[should_panic(expected = "there is no Secret parta-gone")]
    fn missing_secret_is_not_ignored() {
        membership(&rendered().replace("parta-delivery", "parta-gone"));
    }

    /// The kubelet does not start a container whose Secret lacks a key either.
    #[test]
    fn each_missing_key_of_a_secret_is_named() {
        for (secret, key) in [
            ("parta-database-membership", "url"),
            ("parta-database-membership", "migrate-url"),
        ] {
            let mut secrets = secrets();
            secrets.get_mut(secret).unwrap().remove(key);
            let refused = std::panic::catch_unwind(|| workloads(&rendered(), &secrets));
            let message = *refused.unwrap_err().downcast::<String>().unwrap();
            assert_eq!(message, format!("Secret {secret} has no key {key}"));
        }
    }
}
