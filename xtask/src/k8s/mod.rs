//! `cargo xtask k8s`: renders the chart, and checks what it renders.

mod facts;
mod manifests;
mod render;
mod rules;
#[cfg(test)]
mod tests;
mod validators;

use std::path::Path;

use anyhow::{bail, ensure};

use facts::Facts;
use manifests::Manifests;
pub(crate) use render::Tools;

/// Renders every profile and checks it. With `write`, the render of the default values is kept in `k8s/base`
/// and `k8s/components`; otherwise it must be what is committed.
pub(crate) fn run(write: bool) -> anyhow::Result<()> {
    check(&Tools::install()?, write)
}

/// [`run`] with tools that are installed.
pub(crate) fn check(tools: &Tools, write: bool) -> anyhow::Result<()> {
    let facts = Facts::read()?;
    tools.lint()?;
    render::refuse_bad_values(tools)?;
    let mut rendered = Vec::new();
    for profile in render::profiles()? {
        let text = tools.render(&profile)?;
        ensure!(
            text == tools.render(&profile)?,
            "the profile {profile} renders differently each time"
        );
        let found = rules::violations(&Manifests::parse(&text)?, &facts);
        if !found.is_empty() {
            bail!("profile {profile}:\n{}", found.join("\n"));
        }
        rendered.push((profile, text));
    }
    render::keep(&rendered, write)?;
    tools.build_with_kustomize()?;
    let folder = tempfile::tempdir()?;
    for (profile, text) in &rendered {
        let file = folder.path().join(format!("{profile}.yaml"));
        std::fs::write(&file, text)?;
        validators::schemas(tools, &file)?;
    }
    validators::scan(tools, folder.path())?;
    println!(
        "xtask: {} profiles, {} rules, {} objects in the largest",
        rendered.len(),
        rules::RULES.len(),
        rendered
            .iter()
            .map(|(_, text)| text.matches("\nkind: ").count())
            .max()
            .unwrap_or(0)
    );
    Ok(())
}

/// A file of the project.
fn read(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = crate::root().join(path);
    anyhow::Context::with_context(std::fs::read_to_string(&path), || path.display().to_string())
}
