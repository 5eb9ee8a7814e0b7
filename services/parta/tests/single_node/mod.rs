//! The pod of the profile `single-node`, as it is rendered: its arguments, settings and keys.
use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

const RENDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../k8s/single-node/parta.yaml");

/// Returns the files of a Secret.
pub fn files(secret: &Value) -> BTreeMap<String, String> {
    let decoded = |text: &Value| {
        let bytes = BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let data = secret["data"].as_object().unwrap().iter();
    data.map(|(name, text)| (name.clone(), decoded(text))).collect()
}

/// The part of the rendered pod that the process sees.
pub struct Pod {
    /// The arguments of the program.
    pub arguments: Vec<String>,
    /// The environment, without Secrets.
    pub environment: Vec<(String, String)>,
    sources: Vec<Value>,
}

impl Pod {
    /// Reads the committed render.
    pub fn read() -> Self {
        let text = fs::read_to_string(RENDER).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
        let pod = &of("StatefulSet")["spec"]["template"]["spec"];
        let list = |value: &Value| value.as_array().unwrap().clone();
        let arguments = list(&pod["containers"][0]["args"]);
        let settings = of("ConfigMap")["data"].as_object().unwrap().iter();
        let keys = list(&pod["volumes"]).into_iter();
        let keys = keys.filter(|volume| volume["name"] == "keys");
        Self {
            arguments: arguments
                .iter()
                .map(|word| word.as_str().unwrap().to_owned())
                .collect(),
            environment: settings
                .map(|(variable, value)| (variable.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
            sources: keys
                .flat_map(|volume| list(&volume["projected"]["sources"]))
                .collect(),
        }
    }

    /// Writes the files that the volume of the keys has, from the list of Secrets that
    /// `parta keys make --kubernetes` prints.
    pub fn mount_keys(&self, printed: &[u8], folder: &Path) {
        let secrets: Value = serde_json::from_slice(printed).unwrap();
        fs::create_dir_all(folder).unwrap();
        for source in &self.sources {
            let secrets = secrets["items"].as_array().unwrap();
            let named = |secret: &&Value| secret["metadata"]["name"] == source["secret"]["name"];
            let files = files(secrets.iter().find(named).unwrap());
            match source["secret"]["items"].as_array() {
                None => {
                    for (name, text) in files {
                        fs::write(folder.join(name), text).unwrap();
                    }
                }
                Some(items) => {
                    for item in items {
                        let [key, path] = ["key", "path"].map(|field| item[field].as_str().unwrap());
                        fs::write(folder.join(path), &files[key]).unwrap();
                    }
                }
            }
        }
    }
}
