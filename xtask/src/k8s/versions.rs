//! Fields that Kubernetes never lets change. A version in one of them makes every upgrade fail.
use std::{collections::BTreeMap, fs, path::Path};

use anyhow::ensure;
use serde_json::{Value, json};
use walkdir::WalkDir;

use super::{
    Tools,
    manifests::{Manifests, name},
    render::Profile,
};
use crate::parallel;

/// The immutable fields of every object that has some.
pub(crate) fn immutable(manifests: &Manifests) -> BTreeMap<String, Value> {
    let of = |object: &Value| {
        let spec = &object["spec"];
        match object["kind"].as_str()? {
            "Deployment" => Some(json!([spec["selector"]])),
            "StatefulSet" => {
                let keys = [
                    "selector",
                    "serviceName",
                    "podManagementPolicy",
                    "volumeClaimTemplates",
                ];
                Some(keys.iter().map(|key| spec[*key].clone()).collect())
            }
            "Service" => Some(json!([spec["clusterIP"]])),
            "Cluster" => Some(json!([spec["bootstrap"]])),
            "Database" => Some(json!([spec["name"], spec["cluster"]])),
            _ => None,
        }
    };
    let all = manifests.0.iter();
    all.filter_map(|object| Some((name(object), of(object)?)))
        .collect()
}

/// Renders all profiles with another version of the chart and of the product, and fails if an immutable
/// field differs.
pub(crate) fn unchanged(
    tools: &Tools,
    profiles: &[Profile],
    rendered: &[(String, String)],
) -> anyhow::Result<()> {
    let (root, folder) = (crate::root().join("k8s/chart"), tempfile::tempdir()?);
    for entry in WalkDir::new(&root) {
        let entry = entry?;
        let to = folder.path().join(entry.path().strip_prefix(&root)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    let file = folder.path().join("Chart.yaml");
    let text = fs::read_to_string(&file)?;
    let next = text.lines().map(|line| match line.split_once(':') {
        Some((key @ ("version" | "appVersion"), _)) => format!("{key}: 99.0.0\n"),
        _ => format!("{line}\n"),
    });
    let next: String = next.collect();
    ensure!(next.matches("99.0.0").count() == 2, "Chart.yaml has no version");
    fs::write(&file, next)?;
    let both: Vec<_> = profiles.iter().zip(rendered).collect();
    parallel::map(&both, |(profile, (name, text))| {
        let next = Manifests::parse(&profile.render(tools, Path::new(folder.path()))?)?;
        ensure!(
            immutable(&next) == immutable(&Manifests::parse(text)?),
            "profile {name}: an upgrade changes a field that Kubernetes never lets change"
        );
        Ok(())
    })
    .map(drop)
}
