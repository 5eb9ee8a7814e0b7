//! Validators that others keep: the schemas of Kubernetes, and two scanners.
use std::{path::Path, process::Command};

use super::Tools;
use crate::execute;

/// The oldest version that the chart supports, one in the middle, and the newest that the validator knows.
const VERSIONS: [&str; 3] = ["1.29.0", "1.33.0", "1.37.0"];

/// Checks of the scanners that are skipped: name in checkov, name in trivy, and the reason.
const SKIPPED: &[(&str, &str, &str)] = &[
    (
        "CKV_K8S_11",
        "AVD-KSV-0011",
        "a limit of CPU slows a pod down although the node has time",
    ),
    (
        "CKV_K8S_40",
        "AVD-KSV-0020",
        "OpenShift gives each namespace its own user ids and refuses fixed ones",
    ),
    ("", "AVD-KSV-0021", "as for user ids"),
    (
        "CKV_K8S_21",
        "AVD-KSV-0110",
        "the namespace is chosen when the chart is installed",
    ),
    (
        "CKV_K8S_35",
        "",
        "settings are environment variables, and so is the URL of a database; keys are files",
    ),
];

/// Validates a file against the strict schemas of several versions of Kubernetes.
pub(crate) fn schemas(tools: &Tools, file: &Path) -> anyhow::Result<()> {
    for version in VERSIONS {
        let mut validate = Command::new(tools.wheel("kubernetes-validate"));
        // Kinds of other projects (GRPCRoute) have no schema there.
        validate.args(["--strict", "--quiet", "--no-warn", "-k", version]);
        execute(validate.arg(file))?;
    }
    Ok(())
}

/// Scans a folder with checkov and trivy.
pub(crate) fn scan(tools: &Tools, folder: &Path) -> anyhow::Result<()> {
    let names = |pick: fn(&(&'static str, &'static str, &str)) -> &'static str| {
        SKIPPED
            .iter()
            .map(pick)
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
    };
    let mut checkov = Command::new(tools.wheel("checkov"));
    checkov.args([
        "--framework",
        "kubernetes",
        "--quiet",
        "--compact",
        // Without it, checkov asks a service of its vendor for texts.
        "--skip-download",
        "--skip-check",
    ]);
    execute(
        checkov
            .arg(names(|skipped| skipped.0).join(","))
            .arg("-d")
            .arg(folder),
    )?;
    let ignored = tempfile::NamedTempFile::new()?;
    std::fs::write(ignored.path(), names(|skipped| skipped.1).join("\n"))?;
    let mut trivy = Command::new(tools.trivy()?);
    trivy.args([
        "config",
        "--quiet",
        "--skip-check-update",
        "--exit-code",
        "1",
        "--ignorefile",
    ]);
    execute(trivy.arg(ignored.path()).arg(folder))
}
