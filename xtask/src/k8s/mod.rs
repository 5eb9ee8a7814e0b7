//! `cargo xtask k8s`: renders the chart with each profile, and checks the renders.
//!
//! A profile is a set of values (`k8s/chart/values`); a render is the text of its objects. The
//! committed renders are `k8s/base` and `k8s/single-node`. A component is an optional part of the
//! chart for kustomize, and an overlay a folder that kustomize builds from a base and components.

mod components;
mod facts;
mod manifests;
mod measure;
mod readme;
mod refused;
mod render;
mod rules;
#[cfg(test)]
mod tests;
mod validators;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::ensure;

use components::{ALTERNATIVES, COMPONENTS};
use facts::Facts;
use manifests::Manifests;
use render::Profile;
pub(crate) use render::{CHART, Tools};

use crate::{build::Build, parallel};

/// The place of the digest of the settings in a workload.
const SETTINGS_DIGEST: &str = "/spec/template/metadata/annotations/parta~1config";

/// Installs the tools, and renders and checks every profile. With `write`, writes the committed
/// files; otherwise fails if they differ from the renders.
pub(crate) fn run(write: bool) -> anyhow::Result<()> {
    let tools = Tools::install()?;
    check(&tools, write)?;
    let build = Build::with(&["build", "--workspace", "--bin", "parta"])?;
    check_commands(&tools, &build)
}

/// Runs the commands of the documents about Kubernetes, as far as they need no cluster.
pub(crate) fn check_commands(tools: &Tools, build: &Build) -> anyhow::Result<()> {
    readme::check(tools, build.binary("parta")?)
}

/// Does the same as [`run`] without the commands of the documents, with tools that the caller has installed.
pub(crate) fn check(tools: &Tools, write: bool) -> anyhow::Result<()> {
    let facts = Facts::read()?;
    tools.lint()?;
    let profiles = render::profiles()?;
    let rendered = parallel::map(&profiles, |profile| {
        Ok((profile.name.clone(), render_checked(tools, profile, &facts)?))
    })?;
    render::write_or_compare(&render::committed(&rendered)?, write)?;
    let folder = tempfile::tempdir()?;
    let built = build_overlays(tools, &rendered, &facts)?;
    for (name, text) in distinct_objects(rendered.iter().chain(&built))? {
        std::fs::write(folder.path().join(format!("{name}.yaml")), text)?;
    }
    // In the order of their duration, the longest first, so that all end early.
    parallel::all(&[
        &|| validators::checkov(tools, folder.path()),
        &|| validators::trivy(tools, folder.path()),
        &|| validators::schemas(tools, folder.path(), &validators::VERSIONS),
        &|| validators::custom(tools, folder.path()),
        &|| refused::check(tools, &facts),
        &|| versions::unchanged(tools, &profiles, &rendered),
        &validators::alerts,
    ])?;
    println!(
        "xtask: {} profiles, {} components, {} rules, {} objects in the largest",
        rendered.len(),
        COMPONENTS.len(),
        rules::RULES.len(),
        rendered
            .iter()
            .map(|(_, text)| text.matches("\nkind: ").count())
            .max()
            .unwrap_or(0)
    );
    Ok(())
}

/// Renders a profile. Renders it twice, and fails if the texts differ or break a rule.
fn render_checked(tools: &Tools, profile: &Profile, facts: &Facts) -> anyhow::Result<String> {
    let text = profile.render(tools, Path::new(CHART))?;
    let name = &profile.name;
    ensure!(
        text == profile.render(tools, Path::new(CHART))?,
        "the profile {name} renders differently each time"
    );
    let manifests = Manifests::parse(&text)?;
    let mut found = rules::violations(&manifests, facts);
    if name.starts_with("openshift") {
        found.extend(rules::chosen_ids(&manifests));
    }
    ensure!(found.is_empty(), "profile {name}:\n{}", found.join("\n"));
    Ok(text)
}

/// Returns the objects of each render that no earlier render has. Most objects are the same in many
/// renders, and the validators are slow. The digest of the settings, by which a change of them restarts the
/// pods, does not count, because no validator reads it.
fn distinct_objects<'a>(
    rendered: impl Iterator<Item = &'a (String, String)>,
) -> anyhow::Result<Vec<(&'a str, String)>> {
    let (mut seen, mut files) = (BTreeSet::new(), Vec::new());
    for (name, text) in rendered {
        let mut unseen = Vec::new();
        for document in text.split("\n---\n") {
            let mut objects = Manifests::parse(document)?.0;
            let mut is_new = false;
            for object in &mut objects {
                if let Some(digest) = object.pointer_mut(SETTINGS_DIGEST) {
                    *digest = serde_json::Value::Null;
                }
                is_new |= seen.insert(object.to_string());
            }
            if is_new {
                unseen.push(document);
            }
        }
        if !unseen.is_empty() {
            files.push((name.as_str(), unseen.join("\n---\n")));
        }
    }
    Ok(files)
}

/// Builds components and overlays with kustomize. Fails if the base with one component differs from
/// the render of the chart with the values of the component, or if a build breaks a rule. Returns
/// the builds of all components that do not exclude each other, and of the overlays.
fn build_overlays(
    tools: &Tools,
    rendered: &[(String, String)],
    facts: &Facts,
) -> anyhow::Result<Vec<(String, String)>> {
    let by_name = |text: &str| -> anyhow::Result<BTreeMap<String, serde_json::Value>> {
        let manifests = Manifests::parse(text)?;
        Ok(manifests
            .0
            .into_iter()
            .map(|object| (manifests::name(&object), object))
            .collect())
    };
    // kustomize accepts relative paths only, so the temporary folders are beside the components.
    let build = |components: &[&str]| {
        let folder = tempfile::tempdir_in(crate::root().join("k8s"))?;
        let list: String = components
            .iter()
            .map(|component| format!("  - ../components/{component}\n"))
            .collect();
        let text = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../base]\ncomponents:\n{list}"
        );
        std::fs::write(folder.path().join("kustomization.yaml"), text)?;
        tools.kustomize(folder.path())
    };
    parallel::map(COMPONENTS, |(component, _)| {
        let (_, chart) = rendered
            .iter()
            .find(|(name, _)| name == component)
            .ok_or_else(|| anyhow::anyhow!("{component} is not rendered"))?;
        let (built, chart) = (by_name(&build(&[component])?)?, by_name(chart)?);
        let differing: Vec<&String> = built
            .iter()
            .filter(|(name, object)| chart.get(*name) != Some(*object))
            .map(|(name, _)| name)
            .collect();
        ensure!(
            differing.is_empty() && built.len() == chart.len(),
            "the component {component} is not what the chart renders: {differing:?}"
        );
        Ok(())
    })?;
    let all: Vec<&str> = COMPONENTS.iter().map(|(component, _)| *component).collect();
    // The builds choose the first component of each group, then the second, and so on.
    let choices = ALTERNATIVES.iter().map(|group| group.len()).max().unwrap_or(0);
    let mut builds: Vec<(String, Folder)> = Vec::new();
    for choice in 0..choices {
        let omitted: Vec<&str> = ALTERNATIVES
            .iter()
            .flat_map(|group| group.iter().enumerate())
            .filter(|(index, _)| *index != choice)
            .map(|(_, component)| *component)
            .collect();
        let others: Vec<&str> = all
            .iter()
            .copied()
            .filter(|component| !omitted.contains(component))
            .collect();
        builds.push((format!("all-{choice}"), Folder::Components(others)));
    }
    for overlay in ["base", "single-node", "overlays/dev", "overlays/production"] {
        builds.push((overlay.replace('/', "-"), Folder::Committed(overlay)));
    }
    parallel::map(&builds, |(name, folder)| {
        let text = match folder {
            Folder::Components(components) => build(components)?,
            Folder::Committed(path) => tools.kustomize(&crate::root().join("k8s").join(path))?,
        };
        let manifests = Manifests::parse(&text)?;
        let found = rules::violations(&manifests, facts);
        ensure!(found.is_empty(), "kustomize, {name}:\n{}", found.join("\n"));
        if name == "overlays-production" {
            let found = rules::single(&manifests);
            ensure!(found.is_empty(), "{name} has one pod of {}", found.join(", "));
        }
        Ok((name.clone(), text))
    })
}

/// A folder that kustomize builds.
enum Folder {
    /// The base with these components.
    Components(Vec<&'static str>),
    /// A folder of the repository.
    Committed(&'static str),
}

/// Prints a row for each of four profiles, for a table that compares this chart with others.
pub(crate) fn table() -> anyhow::Result<()> {
    let tools = Tools::install()?;
    for profile in render::profiles()? {
        if measure::TABLE.iter().any(|(name, _)| *name == profile.name) {
            let text = profile.render(&tools, Path::new(CHART))?;
            println!("{}", measure::row(&tools, &profile.name, &text)?);
        }
    }
    Ok(())
}

/// Reads a file whose path begins at the root of the repository.
fn read(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = crate::root().join(path);
    anyhow::Context::with_context(std::fs::read_to_string(&path), || path.display().to_string())
}
