//! `cargo xtask image`: builds the image, and starts it as the chart says.
mod aarch64;
mod rehearsal;
mod sbom;

use std::path::PathBuf;

use anyhow::ensure;

use crate::{
    cluster,
    containers::{self, Engine},
    k8s, target, tools,
};

/// The goals of an image. A process with all services is measured, alone on the machine.
struct Goals {
    /// The image is smaller than this number of megabytes.
    megabytes: f64,
    /// The best of three starts on an empty volume takes fewer milliseconds, from the start of the process to
    /// readiness.
    start_ms: u32,
    /// The least of three resident memories at rest is below this number of MiB.
    memory_mib: u32,
}

/// The goals of the image that is shipped.
const SHIPPED: Goals = Goals {
    megabytes: 65.0,
    start_ms: 1_000,
    memory_mib: 64,
};
/// The goals of the image of the dev build, which is not optimized and has shared libraries.
const DEVELOPMENT: Goals = Goals {
    megabytes: 150.0,
    start_ms: 2_000,
    memory_mib: 128,
};
/// The tests that `cargo xtask image` runs.
const TESTS: &[&str] = &["image_starts_as_the_chart_says", "image_meets_its_goals"];

/// The platform of the static program.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Builds the image of the dev build and starts the five services from it. With `release`, the image is the
/// static build that is shipped, and it comes from a registry, as in a network without the internet.
pub(crate) fn run(release: bool) -> anyhow::Result<()> {
    let tools = k8s::Tools::install()?;
    let tests = cluster::build_tests()?;
    let program = if release {
        shipped()?
    } else {
        containers::development(&[])?
    };
    let engine = Engine::provide()?;
    containers::make_parta(&engine, containers::PARTA, &program)?;
    let megabytes = engine.megabytes(containers::PARTA)?;
    println!("xtask: {} has {megabytes:.1} MB", containers::PARTA);
    let goals = if release { SHIPPED } else { DEVELOPMENT };
    ensure!(
        megabytes < goals.megabytes,
        "the image has {megabytes:.1} MB, not less than {}",
        goals.megabytes
    );
    if release {
        rehearsal::run(&engine, &tools)?;
    }
    let limits = format!("{},{}", goals.start_ms, goals.memory_mib);
    let limits = [("PARTA_CLUSTER_GOALS", limits.as_str())];
    cluster::run_tests(&engine, &tools, &tests, TESTS, &limits)
}

/// Builds the program for aarch64, and plays the demo against it under emulation.
pub(crate) fn run_on_aarch64() -> anyhow::Result<()> {
    aarch64::run(&containers::development(&[])?)
}

/// Builds the static program of the profile that is shipped. The list of its crates is a part of it.
fn shipped() -> anyhow::Result<PathBuf> {
    let mut build = crate::cargo();
    tools::with_auditable(&mut build)?;
    build.args([
        "auditable",
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
