//! `cargo xtask image`: builds the image, and starts it as the chart says.
use std::{fs, path::PathBuf};

use crate::{
    build::Build,
    cluster,
    containers::{self, Engine},
    k8s, target,
};

/// The platform of the static program.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Builds the image of the dev build, or of the static build that is shipped, and starts the five services
/// from it.
pub(crate) fn run(release: bool) -> anyhow::Result<()> {
    let tools = k8s::Tools::install()?;
    let tests = cluster::build_tests()?;
    let program = if release { shipped()? } else { development(&[])? };
    let engine = Engine::provide()?;
    containers::make_parta(&engine, containers::PARTA, &program)?;
    println!(
        "xtask: {} has {:.1} MB",
        containers::PARTA,
        engine.megabytes(containers::PARTA)?
    );
    cluster::run_tests(&engine, &tools, &tests, &["image_starts_as_the_chart_says"])
}

/// Builds the program of the dev profile, with these features, as a file that a later build does not replace.
pub(crate) fn development(features: &[&str]) -> anyhow::Result<PathBuf> {
    let mut arguments = vec!["build", "--workspace", "--bin", "parta"];
    let joined = features.join(",");
    if !features.is_empty() {
        arguments.extend(["--features", &joined]);
    }
    let build = Build::with(&arguments)?;
    let folder = Engine::workspace();
    fs::create_dir_all(&folder)?;
    let copy = folder.join(if features.is_empty() {
        "parta"
    } else {
        "parta-upgraded"
    });
    fs::copy(build.binary("parta")?, &copy)?;
    Ok(copy)
}

/// Builds the static program of the profile that is shipped.
fn shipped() -> anyhow::Result<PathBuf> {
    let mut build = crate::cargo();
    build.args([
        "build",
        "--package",
        "parta",
        "--profile",
        "dist",
        "--target",
        PLATFORM,
    ]);
    // The programs that run during the build are not static, because a target is named.
    build.env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    crate::execute(&mut build)?;
    Ok(target().join(PLATFORM).join("dist/parta"))
}
