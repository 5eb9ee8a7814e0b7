//! Validators that others keep: the schemas of Kubernetes, and two scanners.
use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{bail, ensure};

use super::{Tools, render::WHEELS};
use crate::{execute, root, servers, target, tools};

/// The oldest version that the chart supports, one in the middle, and the newest that the validator knows.
pub(crate) const VERSIONS: [&str; 3] = ["1.29.0", "1.33.0", "1.37.0"];

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

/// Validates the files at the further arguments against the strict schemas of the versions at the first one,
/// with the functions of the command `kubernetes-validate`. The command itself reads the definitions of a
/// version once for each object, and parses YAML in Python, which took most of its time.
const VALIDATE_KUBERNETES: &str = "import functools, sys, yaml
from kubernetes_validate import utils
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)
yaml.SafeLoader = yaml.CSafeLoader
files = [(path, utils.resources_from_file(path)) for path in sys.argv[2:]]
found = 0
for version in sys.argv[1].split(','):
    for path, objects in files:
        for resource in objects:
            # Kinds of other projects have no schema there, which is a warning.
            found |= utils.validate_resource(
                resource=resource, filename=path, version=version, strict=True, quiet=True, no_warn=True)
sys.exit(found)
";
/// Schemas of kinds of other projects, from their own definitions.
const CUSTOM: &str = "xtask/k8s-schemas";
/// Validates each object of the files at the further arguments by the schema of its kind in the folder at the
/// first one. An object of another project without a schema is an error.
const VALIDATE: &str = "import json, os, sys, jsonschema, yaml
known = {os.path.splitext(n)[0]: json.load(open(os.path.join(sys.argv[1], n)))
    for n in os.listdir(sys.argv[1]) if n.endswith('.json')}
wrong, seen = [], set()
for path in sys.argv[2:]:
    for document in yaml.load_all(open(path), Loader=yaml.CSafeLoader):
        if not document or document['apiVersion'].split('/')[0] in ('v1', 'apps', 'policy', 'autoscaling'):
            continue
        kind, name = document['kind'], document['metadata']['name']
        if kind in known:
            seen.add(kind)
            errors = jsonschema.Draft202012Validator(known[kind]).iter_errors(document)
            wrong += [f'{path}: {kind}/{name} {e.json_path}: {e.message}' for e in errors]
        elif not document['apiVersion'].startswith('networking.k8s.io/'):
            wrong.append(f'{path}: {kind}/{name} has no schema')
wrong += [f'no object has the kind {kind}' for kind in known.keys() - seen]
sys.exit('\\n'.join(wrong) or 0)
";

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Runs a check of the files of a folder, unless it passed the same files before. `check` is what decides
/// beside the files and the versions of the tools. Both are kept below the target folder as they passed. Only
/// the validators of others are worth it: they take most of the time of all checks.
fn unless_passed(
    name: &str,
    check: &[&str],
    folder: &Path,
    run: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut input = std::fs::read(root().join(WHEELS))?;
    input.extend(check.join("\n").into_bytes());
    for file in files(folder)? {
        let content = std::fs::read(&file)?;
        let title = format!(
            "\n{} {}\n",
            file.file_name().unwrap_or_default().display(),
            content.len()
        );
        input.extend(title.into_bytes());
        input.extend(content);
    }
    let passed = target().join("passed").join(name);
    if std::fs::read(&passed).is_ok_and(|before| before == input) {
        return Ok(());
    }
    run()?;
    std::fs::create_dir_all(target().join("passed"))?;
    Ok(std::fs::write(passed, input)?)
}

/// Validates the files of a folder against the strict schemas of these versions of Kubernetes.
pub(crate) fn schemas(tools: &Tools, folder: &Path, versions: &[&str]) -> anyhow::Result<()> {
    let versions = versions.join(",");
    let name = format!("schemas-{versions}");
    unless_passed(&name, &[VALIDATE_KUBERNETES, &versions], folder, || {
        let mut validate = Command::new(tools.wheel("python"));
        validate.args(["-c", VALIDATE_KUBERNETES, &versions]);
        execute(validate.args(files(folder)?))
    })
}

/// Validates the objects of other projects.
pub(crate) fn custom(tools: &Tools, folder: &Path) -> anyhow::Result<()> {
    let mut validate = Command::new(tools.wheel("python"));
    validate
        .args(["-c", VALIDATE])
        .arg(root().join(CUSTOM))
        .args(files(folder)?);
    let output = validate.output()?;
    if !output.status.success() {
        bail!(
            "custom resources: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The findings of trivy without a skipped check: high (with critical), medium, low.
pub(crate) fn findings(tools: &Tools, text: &str) -> anyhow::Result<[usize; 3]> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("render.yaml"), text)?;
    let mut trivy = Command::new(tools.trivy()?);
    trivy.args(["config", "--quiet", "--skip-check-update", "--format", "json"]);
    let output = trivy.arg(folder.path()).output()?;
    ensure!(
        output.status.success(),
        "trivy: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let results = report["Results"].as_array().into_iter().flatten();
    let found = results.flat_map(|result| result["Misconfigurations"].as_array().into_iter().flatten());
    let severities: Vec<&str> = found.filter_map(|one| one["Severity"].as_str()).collect();
    let count = |wanted: &[&str]| {
        severities
            .iter()
            .filter(|severity| wanted.contains(severity))
            .count()
    };
    Ok([count(&["HIGH", "CRITICAL"]), count(&["MEDIUM"]), count(&["LOW"])])
}

/// The names of the skipped checks of one scanner.
fn skipped(pick: fn(&(&'static str, &'static str, &str)) -> &'static str) -> Vec<&'static str> {
    SKIPPED.iter().map(pick).filter(|name| !name.is_empty()).collect()
}

/// Scans a folder with checkov.
pub(crate) fn checkov(tools: &Tools, folder: &Path) -> anyhow::Result<()> {
    let skipped = skipped(|names| names.0).join(",");
    let options = [
        "--framework",
        "kubernetes",
        "--quiet",
        "--compact",
        // Without it, checkov loads texts from a service of its vendor.
        "--skip-download",
        "--skip-check",
        &skipped,
        "-d",
    ];
    unless_passed("checkov", &options, folder, || {
        execute(Command::new(tools.wheel("checkov")).args(options).arg(folder))
    })
}

/// Scans a folder with trivy.
pub(crate) fn trivy(tools: &Tools, folder: &Path) -> anyhow::Result<()> {
    let skipped = skipped(|names| names.1).join("\n");
    let options = [
        "config",
        "--quiet",
        "--skip-check-update",
        "--exit-code",
        "1",
        "--ignorefile",
    ];
    let check = [&[skipped.as_str()], options.as_slice()].concat();
    unless_passed("trivy", &check, folder, || {
        let ignored = tempfile::NamedTempFile::new()?;
        std::fs::write(ignored.path(), &skipped)?;
        let mut trivy = Command::new(tools.trivy()?);
        execute(trivy.args(options).arg(ignored.path()).arg(folder))
    })
}

const ALERT_TESTS: &str = "k8s/alerts/parta_test.yaml";
/// The alerts, as a file of Prometheus.
const ALERTS: &str = "k8s/chart/alerts/parta.rules.yaml";
/// The release of Debian whose package has promtool.
const RELEASE_OF_PROMTOOL: &str = "bookworm";

/// Checks the alerts and runs their tests.
pub(crate) fn alerts() -> anyhow::Result<()> {
    let promtool = match servers::in_path("promtool") {
        Some(program) => program,
        None => tools::debian("prometheus", "usr/bin/promtool", RELEASE_OF_PROMTOOL)?,
    };
    for (arguments, file) in [
        (["check", "rules"].as_slice(), ALERTS),
        (&["test", "rules"], ALERT_TESTS),
    ] {
        let mut run = Command::new(&promtool);
        run.args(arguments);
        if file == ALERTS {
            run.args(["--lint=all", "--lint-fatal"]);
        }
        let output = run.arg(root().join(file)).output()?;
        ensure!(
            output.status.success(),
            "{file}: {}{}",
            String::from_utf8_lossy(&output.stdout).trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
