//! The rendered objects, as values.
use anyhow::Context as _;
use serde_json::Value;

/// The objects of one profile.
#[derive(Clone)]
pub(crate) struct Manifests(pub(crate) Vec<Value>);

impl Manifests {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(text).context("the render is not YAML")?;
        Ok(Self(
            objects.into_iter().filter(|object| !object.is_null()).collect(),
        ))
    }

    pub(crate) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object of this kind and name.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// The images of all objects.
    pub(crate) fn images(&self) -> impl Iterator<Item = &str> {
        let containers = self
            .workloads()
            .flat_map(containers)
            .map(|container| &container["image"]);
        let databases = self.of("Cluster").map(|cluster| &cluster["spec"]["imageName"]);
        containers.chain(databases).filter_map(Value::as_str)
    }

    /// The objects that create pods of Parta; the others run programs of other projects.
    pub(crate) fn parta(&self) -> impl Iterator<Item = &Value> {
        self.workloads().filter(|workload| {
            items(&pod(workload)["containers"])
                .any(|container| items(&container["args"]).any(|a| a == "serve"))
        })
    }

    /// The objects that create pods.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Value> {
        self.0
            .iter()
            .filter(|object| object["kind"] == "Deployment" || object["kind"] == "StatefulSet")
    }
}

/// `kind/name` of an object.
pub(crate) fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// The specification of a workload's pods.
pub(crate) fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// The elements of a list; none if it is absent.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// All containers of a workload, those that run first included.
pub(crate) fn containers(workload: &Value) -> impl Iterator<Item = &Value> {
    items(&pod(workload)["initContainers"]).chain(items(&pod(workload)["containers"]))
}

/// Whether every label of `selector` is among `labels`. An empty selector selects nothing here.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(selector) = selector.as_object() else {
        return false;
    };
    !selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value)
}
