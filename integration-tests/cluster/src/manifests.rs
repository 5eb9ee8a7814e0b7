//! The rendered manifests of the chart, as far as pods depend on them. A setting of a container that is not
//! known here is an error, so that none is ignored.
use std::collections::BTreeMap;

use serde_json::Value;

/// Secrets by name, each with its keys.
pub type Secrets = BTreeMap<String, BTreeMap<String, String>>;

/// A Deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Its name, which is the name of the service.
    pub name: String,
    /// Number of its pods.
    pub replicas: usize,
    /// Seconds between the request to stop a pod and its end by force.
    pub grace_seconds: i32,
    /// The containers that run before the pod serves, in order.
    pub first: Vec<Container>,
    /// The container that serves.
    pub serves: Container,
}

/// A container, with the values of all references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Arguments of the entry point.
    pub arguments: Vec<String>,
    /// Its environment.
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
    /// Limit of its memory in bytes.
    pub memory_bytes: i64,
}

/// A folder of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its path in the container.
    pub path: String,
    /// Its files, which cannot be written; `None` is an empty folder.
    pub files: Option<BTreeMap<String, String>>,
}

/// Returns all Deployments, with the values that the ConfigMaps and these Secrets have.
///
/// # Panics
///
/// Panics if the text has no Deployment, if a reference leads nowhere, or at a setting that is not known.
pub fn deployments(text: &str, secrets: &Secrets) -> Vec<Deployment> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    let objects: Vec<Value> = objects.into_iter().filter(|object| !object.is_null()).collect();
    let sources = Sources {
        objects: &objects,
        secrets,
    };
    let found: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == "Deployment")
        .map(|object| sources.deployment(object))
        .collect();
    assert!(!found.is_empty(), "the render has no Deployment");
    found
}

struct Sources<'a> {
    objects: &'a [Value],
    secrets: &'a Secrets,
}

impl Sources<'_> {
    fn deployment(&self, object: &Value) -> Deployment {
        let pod = &object["spec"]["template"]["spec"];
        let all = |list: &str| -> Vec<Container> {
            items(&pod[list])
                .map(|container| self.container(pod, container))
                .collect()
        };
        let [serves] = <[Container; 1]>::try_from(all("containers")).expect("one container");
        Deployment {
            name: text(&object["metadata"]["name"]),
            replicas: object["spec"]["replicas"].as_u64().expect("replicas") as usize,
            grace_seconds: pod["terminationGracePeriodSeconds"]
                .as_i64()
                .expect("a grace period") as i32,
            first: all("initContainers"),
            serves,
        }
    }

    fn container(&self, pod: &Value, container: &Value) -> Container {
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
        Container {
            arguments: items(&container["args"]).map(text).collect(),
            environment: self.environment(container),
            mounts: items(&container["volumeMounts"])
                .map(|mount| self.mount(pod, mount))
                .collect(),
            read_only: security("readOnlyRootFilesystem") == true,
            dropped: items(&security("capabilities")["drop"]).map(text).collect(),
            escalation: security("allowPrivilegeEscalation") != false,
            non_root: security("runAsNonRoot") == true,
            user: user.map(|user| format!("{user}:{}", group.unwrap_or_default())),
            memory_bytes: bytes(&text(&container["resources"]["limits"]["memory"])),
        }
    }

    fn environment(&self, container: &Value) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for source in items(&container["envFrom"]) {
            known(source, &["configMapRef", "secretRef"]);
            match source["configMapRef"]["name"].as_str() {
                Some(name) => all.extend(self.config_map(name)),
                None => all.extend(self.secret(&text(&source["secretRef"]["name"])).clone()),
            }
        }
        for variable in items(&container["env"]) {
            known(&variable["valueFrom"], &["secretKeyRef"]);
            let reference = &variable["valueFrom"]["secretKeyRef"];
            let value = match reference["name"].as_str() {
                None => text(&variable["value"]),
                Some(secret) => {
                    let key = text(&reference["key"]);
                    let value = self.secret(secret).get(&key);
                    value
                        .unwrap_or_else(|| panic!("Secret {secret} has no key {key}"))
                        .clone()
                }
            };
            all.insert(text(&variable["name"]), value);
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
        data.map(|(key, value)| (key.clone(), text(value))).collect()
    }

    fn secret(&self, name: &str) -> &BTreeMap<String, String> {
        let found = self.secrets.get(name);
        found.unwrap_or_else(|| panic!("there is no Secret {name}"))
    }

    fn mount(&self, pod: &Value, mount: &Value) -> Mount {
        let mut volumes = items(&pod["volumes"]);
        let volume = volumes
            .find(|volume| volume["name"] == mount["name"])
            .expect("a volume");
        known(volume, &["name", "secret", "emptyDir"]);
        let secret = volume["secret"]["secretName"].as_str();
        Mount {
            path: text(&mount["mountPath"]),
            files: secret.map(|name| self.secret(name).clone()),
        }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => panic!("{other} is not a text"),
    }
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
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../k8s/base/parta.yaml");
        std::fs::read_to_string(path).unwrap()
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

    fn membership(text: &str) -> Deployment {
        let all = deployments(text, &secrets());
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
        assert!(keys.files.as_ref().unwrap().contains_key("membership.pem"));
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
}
