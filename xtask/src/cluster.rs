//! `cargo xtask cluster`: runs the five services in containers, as Kubernetes would run them, and disturbs
//! them.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    build::Build,
    containers::{self, Engine},
    execute, k8s,
};

/// The feature of the package of the tests that compiles them.
pub(crate) const FEATURE: &str = "parta-cluster-tests/containers";
/// The tests of the short form.
const SHORT: &[&str] = &[
    "demo_passes_and_a_killed_replica_loses_nothing",
    "killed_single_node_loses_nothing",
];
/// The tests of the long form.
const LONG: &[&str] = &["faults_lose_nothing", "upgrade_and_rollback_lose_nothing"];
/// The settings of both installations beside those of their profiles: TLS with a name for clients, and no
/// digest, because the tests name the image themselves.
const BOTH: &[&str] = &[
    "--set",
    "image.allowPlaceholder=true",
    "--set",
    "certManager.enabled=true",
    "--set",
    "certManager.dnsNames={localhost}",
];
/// The installation with a pod for each service: two replicas, and the authority of the SMS gateway.
const VALUES: &[&str] = &[
    "--set",
    "services.chat.replicas=2",
    "--set",
    "services.membership.replicas=2",
    "--set",
    "services.membership.filesSecret=parta-membership-files",
];
/// The installation with one pod, without a gateway.
const SINGLE_NODE: &[&str] = &[
    "--values",
    "k8s/chart/values/single-node.yaml",
    "--set",
    "route.enabled=false",
    "--set",
    "singleNode.filesSecret=parta-membership-files",
];
/// The feature that adds one migration to chat.
const UPGRADE: &str = "parta/upgrade-test";
const UPGRADED: &str = "parta:upgraded";

/// Runs the tests of the cluster.
pub(crate) fn run(short: bool) -> anyhow::Result<()> {
    let tools = k8s::Tools::install()?;
    let tests = build_tests()?;
    let engine = Engine::provide()?;
    short_form(&engine, &tools, &tests)?;
    if short {
        return Ok(());
    }
    containers::make_parta(&engine, UPGRADED, &containers::development(&[UPGRADE])?)?;
    run_tests(&engine, &tools, &tests, LONG, &[])
}

/// Runs the tests of the short form.
pub(crate) fn short_form(engine: &Engine, tools: &k8s::Tools, tests: &Path) -> anyhow::Result<()> {
    containers::make_parta(engine, containers::PARTA, &containers::development(&[])?)?;
    run_tests(engine, tools, tests, SHORT, &[])
}

/// Builds the program of the tests. It shares all artifacts with the other checks, except for the client of
/// the engine.
pub(crate) fn build_tests() -> anyhow::Result<PathBuf> {
    let build = Build::with(&["build", "--workspace", "--features", FEATURE, "--test", "cluster"])?;
    Ok(build.tests("cluster")?.to_path_buf())
}

/// Runs tests of the cluster one after the other on this engine, with further variables.
pub(crate) fn run_tests(
    engine: &Engine,
    tools: &k8s::Tools,
    tests: &Path,
    names: &[&str],
    variables: &[(&str, &str)],
) -> anyhow::Result<()> {
    containers::make_postgres(engine)?;
    containers::make_nats(engine)?;
    let folder = Engine::workspace();
    let render = |name: &str, values: &[&str]| -> anyhow::Result<PathBuf> {
        let manifests = folder.join(name);
        let text = tools.template(Path::new(k8s::CHART), &[values, BOTH].concat())?;
        fs::write(&manifests, text)?;
        Ok(manifests)
    };
    let (manifests, single_node) = (
        render("manifests.yaml", VALUES)?,
        render("single-node.yaml", SINGLE_NODE)?,
    );
    let logs = folder.join("logs");
    let _ = fs::remove_dir_all(&logs);
    fs::create_dir_all(&logs)?;
    let mut command = Command::new(tests);
    command
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .args(names);
    command.envs(engine.environment());
    command.envs(variables.iter().copied());
    command.env("PARTA_CLUSTER_MANIFESTS", &manifests);
    command.env("PARTA_CLUSTER_SINGLE_NODE", &single_node);
    command.env("PARTA_CLUSTER_LOGS", &logs);
    command.env("PARTA_CLUSTER_IMAGE", containers::PARTA);
    command.env("PARTA_CLUSTER_UPGRADED_IMAGE", UPGRADED);
    command.env(
        "PARTA_CLUSTER_SERVER_IMAGES",
        format!("{},{}", containers::POSTGRES, containers::NATS),
    );
    execute(&mut command)
}
