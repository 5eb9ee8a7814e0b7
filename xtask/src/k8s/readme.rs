//! The commands of k8s/README.md and k8s/UPGRADING.md: each block runs as it is written, with programs in
//! `PATH` that carry out what needs no cluster and note the rest.
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{
    Tools,
    facts::Facts,
    manifests::{Manifests, containers, items, pod},
    measure, read,
    render::{CHART, profiles},
    rules, validators,
};
use crate::parallel;

/// The documents, in the order in which an operator reads them.
const DOCUMENTS: [&str; 2] = ["k8s/README.md", "k8s/UPGRADING.md"];
/// The file with the values of an installation, which the README has as an example.
const VALUES: &str = "school.yaml";
/// Files of membership that exist during and after a rotation of the signing key.
const OF_ROTATION: [&str; 2] = ["token-signing-next.pem", "token-signing-previous.pem"];
/// The end of the names of renders of `helm install`.
const INSTALLED: &str = "helm-install.yaml";

/// Prints objects instead of creating them, and builds folders instead of applying them.
const KUBECTL: &str = r#"case "$*" in
"create "*) exec "$REAL/kubectl" "$@" --dry-run=client --output=yaml >"$file" ;;
"apply -k "*) exec "$REAL/kubectl" kustomize "$3" >"$file" ;;
"apply -n "*" -f -") exec cat >"$file" ;;
esac
"#;
/// Renders a chart of this machine instead of installing it, and packs it.
const HELM: &str = r#"case "$*" in
*oci://*) ;;
"install "*|"upgrade "*)
    file=${file%.yaml}-helm-$1.yaml
    shift
    exec "$REAL/helm" template "$@" >"$file"
    ;;
"package "*) exec "$REAL/helm" "$@" >&2 ;;
esac
"#;
/// Makes keys, which needs no server.
const PARTA: &str = r#"case "$*" in
"keys "*) exec "$BINARY" "$@" ;;
esac
"#;

/// The commands that are not executed, by their beginnings.
const NOT_EXECUTED: &[(&str, &str)] = &[
    ("kubectl label", "needs a cluster"),
    ("kubectl get", "needs a cluster"),
    ("kubectl rollout", "needs a cluster"),
    ("kubectl port-forward", "needs a cluster"),
    ("helm uninstall", "needs a cluster"),
    ("parta application", "needs a server"),
    ("parta login", "needs a server"),
    ("helm push", "`cargo xtask image --release` runs it"),
    ("helm pull", "`cargo xtask image --release` runs it"),
    ("helm install parta oci:", "`cargo xtask image --release` runs it"),
    ("docker tag", "`cargo xtask image --release` runs it"),
    ("docker push", "`cargo xtask image --release` runs it"),
    ("cosign", "`cargo xtask image --release` runs it"),
];

/// Runs the commands of the documents with this program of Parta, and checks the objects that they would
/// create: their schemas, the rules, and that the pods find each Secret that they name. Then compares the
/// rows of the README about this chart with the render.
pub(super) fn check(tools: &Tools, parta: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let run = Run::prepare(folder.path(), parta)?;
    let readme = read(DOCUMENTS[0])?;
    fs::write(run.work.join(VALUES), filled(&block(&readme, VALUES)?))?;
    for document in DOCUMENTS {
        let script = commands(&read(document)?);
        run.execute(tools, &filled(&script))
            .with_context(|| document.to_owned())?;
    }
    let (created, installed) = (run.created()?, run.rendered(INSTALLED)?);
    check_created(&created, &Facts::read()?)?;
    ensure!(installed.len() > 1, "k8s/README.md lacks an installation");
    for rendered in &installed {
        let missing = missing_secrets(rendered, &created);
        ensure!(
            missing.is_empty(),
            "k8s/README.md creates no Secret with {}",
            missing.join(", ")
        );
    }
    check_short_path(&readme)?;
    validators::schemas(tools, &run.out, &validators::VERSIONS[2..])?;
    compare_rows(tools, &readme)?;
    let skipped = run.skipped()?;
    println!(
        "xtask: the commands of {} made {} objects; not executed: {} commands",
        DOCUMENTS.join(" and "),
        created.0.len(),
        skipped
    );
    Ok(())
}

/// A folder in which the commands run.
struct Run {
    /// A copy of `k8s`, so that commands may write there.
    work: PathBuf,
    /// The programs that stand in for others.
    programs: PathBuf,
    /// The objects that the commands would create.
    out: PathBuf,
    /// The commands that were not executed, one a line.
    record: PathBuf,
    parta: PathBuf,
}

impl Run {
    fn prepare(folder: &Path, parta: &Path) -> anyhow::Result<Self> {
        let run = Self {
            work: folder.join("work"),
            programs: folder.join("programs"),
            out: folder.join("out"),
            record: folder.join("record"),
            parta: fs::canonicalize(parta)?,
        };
        for made in [&run.work, &run.programs, &run.out] {
            fs::create_dir(made)?;
        }
        fs::write(&run.record, "")?;
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(crate::root().join("k8s")).arg(&run.work);
        ensure!(copy.status()?.success(), "k8s cannot be copied");
        for (program, body) in [
            ("kubectl", KUBECTL),
            ("helm", HELM),
            ("parta", PARTA),
            ("docker", ""),
            ("cosign", ""),
        ] {
            let file = run.programs.join(program);
            let text = format!(
                "#!/bin/bash\nset -eu\nfile=$OUT/$(printf %03d \"$(ls \"$OUT\" | wc -l)\").yaml\n{body}\
                 echo \"{program} $*\" >>\"$RECORD\"\n"
            );
            fs::write(&file, text)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        Ok(run)
    }

    fn execute(&self, tools: &Tools, script: &str) -> anyhow::Result<()> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = Command::new("bash");
        bash.args(["-e", "-u", "-o", "pipefail", "-c", script]);
        bash.current_dir(&self.work)
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .env("REAL", tools.binaries())
            .env("BINARY", &self.parta)
            .env("OUT", &self.out)
            .env("RECORD", &self.record);
        let output = bash.output()?;
        if !output.status.success() {
            bail!(
                "a command fails: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Returns all objects. Fails if pods among them break a rule. Writes a list as its objects, which the
    /// validators know.
    fn created(&self) -> anyhow::Result<Manifests> {
        let mut all = Vec::new();
        let facts = Facts::read()?;
        for entry in fs::read_dir(&self.out)? {
            let path = entry?.path();
            let text = fs::read_to_string(&path)?;
            let parsed = Manifests::parse(&text).with_context(|| path.display().to_string())?;
            let mut objects = Vec::new();
            for object in parsed.0 {
                match object["kind"].as_str() {
                    Some("List") => objects.extend(items(&object["items"]).cloned()),
                    _ => objects.push(object),
                }
            }
            ensure!(!objects.is_empty(), "a command creates nothing");
            let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
            fs::write(&path, documents.join("\n---\n"))?;
            let objects = Manifests(objects);
            if objects.workloads().next().is_some() {
                let found = rules::violations(&objects, &facts);
                ensure!(found.is_empty(), "{}:\n{}", path.display(), found.join("\n"));
            }
            all.extend(objects.0);
        }
        Ok(Manifests(all))
    }

    /// Returns the renders whose names have this end.
    fn rendered(&self, end: &str) -> anyhow::Result<Vec<Manifests>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.out)? {
            let path = entry?.path();
            if path.display().to_string().ends_with(end) {
                found.push(Manifests::parse(&fs::read_to_string(&path)?)?);
            }
        }
        Ok(found)
    }

    /// Returns the number of commands that were not executed. Fails if one has no reason.
    fn skipped(&self) -> anyhow::Result<usize> {
        let record = fs::read_to_string(&self.record)?;
        for line in record.lines() {
            let reason = NOT_EXECUTED.iter().find(|(begin, _)| line.starts_with(begin));
            ensure!(reason.is_some(), "`{line}` was not executed, without a reason");
        }
        for (begin, _) in NOT_EXECUTED {
            let found = record.lines().any(|line| line.starts_with(begin));
            ensure!(found, "no document has `{begin}`");
        }
        Ok(record.lines().count())
    }
}

/// Returns the commands of a document: its blocks that are indented, and those of `bash`.
fn commands(text: &str) -> String {
    let (mut script, mut fence) = (String::new(), None);
    for line in text.lines() {
        let inner = line.trim_start();
        if let Some(language) = inner.strip_prefix("```") {
            fence = match fence {
                None => Some(language == "bash"),
                Some(_) => None,
            };
            continue;
        }
        let is_command = match fence {
            Some(is_bash) => is_bash,
            None => line.starts_with("    "),
        };
        if is_command {
            script.push_str(line);
            script.push('\n');
        }
    }
    script
}

/// Returns the block of YAML that begins with a comment with this name.
fn block(text: &str, name: &str) -> anyhow::Result<String> {
    let begin = format!("```yaml\n# {name}\n");
    let (_, rest) = text
        .split_once(&begin)
        .with_context(|| format!("no block begins with # {name}"))?;
    let (block, _) = rest.split_once("```").context("a block has no end")?;
    Ok(block.to_owned())
}

/// Replaces the words that stand for values of an installation.
fn filled(text: &str) -> String {
    text.replace("REGISTRY", "registry.school.example")
        .replace("DIGEST", &"1".repeat(64))
}

/// Fails if a Secret of keys has other files than its service needs.
fn check_created(created: &Manifests, facts: &Facts) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for (service, files) in &facts.keys {
        let name = format!("parta-keys-{service}");
        let secrets = created.of("Secret");
        let secrets = secrets.filter(|secret| secret["metadata"]["name"] == *name);
        let mut all: Vec<_> = secrets.map(keys_of).collect();
        if all.is_empty() {
            all.push(Vec::new());
        }
        for mut keys in all {
            // The rotation adds one of these at a time.
            keys.retain(|key| !(service == "membership" && OF_ROTATION.contains(&key.as_str())));
            if !files.iter().eq(&keys) {
                found.push(format!("{name} has {keys:?}"));
            }
        }
    }
    ensure!(found.is_empty(), "k8s/README.md: {}", found.join(", "));
    Ok(())
}

fn keys_of(secret: &Value) -> Vec<String> {
    let of = |field: &str| secret[field].as_object().into_iter().flatten();
    let mut keys: Vec<String> = of("data")
        .chain(of("stringData"))
        .map(|(key, _)| key.clone())
        .collect();
    keys.sort();
    keys
}

/// Returns the Secrets and the keys that pods need and that nobody creates.
fn missing_secrets(rendered: &Manifests, created: &Manifests) -> Vec<String> {
    let mut missing = Vec::new();
    let mut needs = |secret: &Value, key: &Value| {
        let Some(name) = secret.as_str() else { return };
        let secrets = created
            .of("Secret")
            .filter(|object| object["metadata"]["name"] == name);
        let mut keys = secrets.map(keys_of);
        let has = keys.any(|keys| key.as_str().is_none_or(|key| keys.iter().any(|own| own == key)));
        if !has {
            missing.push(format!("{name} {key}"));
        }
    };
    for workload in rendered.parta() {
        for volume in items(&pod(workload)["volumes"]) {
            needs(&volume["secret"]["secretName"], &Value::Null);
            for source in items(&volume["projected"]["sources"]) {
                let secret = &source["secret"];
                needs(&secret["name"], &Value::Null);
                for item in items(&secret["items"]) {
                    needs(&secret["name"], &item["key"]);
                }
            }
        }
        for container in containers(workload) {
            for source in items(&container["envFrom"]) {
                needs(&source["secretRef"]["name"], &Value::Null);
            }
            for variable in items(&container["env"]) {
                let reference = &variable["valueFrom"]["secretKeyRef"];
                needs(&reference["name"], &reference["key"]);
            }
        }
    }
    missing
}

/// The lines of the README that stand on the first screen.
const FIRST_SCREEN_LINES: usize = 45;
/// The heading of the short path.
const SHORT_PATH: &str = "## The short path";

/// Fails if the short path is not on the first screen, or does not lead from nothing to a founded school.
fn check_short_path(readme: &str) -> anyhow::Result<()> {
    let first: Vec<&str> = readme.lines().take(FIRST_SCREEN_LINES).collect();
    let first = first.join("\n");
    let (_, path) = first
        .split_once(SHORT_PATH)
        .with_context(|| format!("the first screen of k8s/README.md lacks {SHORT_PATH}"))?;
    let script = commands(path);
    let mut rest = script.as_str();
    for command in [
        "kubectl create namespace",
        "parta keys make",
        "kubectl create secret",
        "helm install",
        "parta application approve",
        "parta login",
    ] {
        let (_, after) = rest
            .split_once(command)
            .with_context(|| format!("the first screen of k8s/README.md lacks `{command}`, in this order"))?;
        rest = after;
    }
    Ok(())
}

/// Fails if a row about this chart differs from what is counted in the render, except for the findings of
/// trivy, which takes longer than everything else.
fn compare_rows(tools: &Tools, readme: &str) -> anyhow::Result<()> {
    let profiles = profiles()?;
    let compared: Vec<_> = profiles
        .iter()
        .filter(|profile| measure::TABLE.iter().any(|(name, _)| *name == profile.name))
        .collect();
    parallel::map(&compared, |profile| {
        let text = profile.render(tools, Path::new(CHART))?;
        let row = measure::counts(&profile.name, &text)?;
        ensure!(readme.contains(&row), "k8s/README.md lacks the row {row}");
        Ok(())
    })?;
    let sized: Vec<_> = profiles
        .iter()
        .filter(|profile| measure::SIZES.contains(&profile.name.as_str()))
        .collect();
    ensure!(sized.len() == measure::SIZES.len(), "a profile is missing");
    parallel::map(&sized, |profile| {
        let manifests = Manifests::parse(&profile.render(tools, Path::new(CHART))?)?;
        let size = measure::size(&profile.name, &manifests)?;
        ensure!(readme.contains(&size), "k8s/README.md, sizes: lacks {size}");
        let first = measure::first_containers(&manifests)?;
        for text in first {
            ensure!(readme.contains(&text), "k8s/README.md, sizes: lacks {text}");
        }
        Ok(())
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_a_document_are_its_blocks() {
        let text = "Text\n\n    one\n\n```bash\ntwo\n```\n\n```sql\nthree\n```\n\n1. x\n\n       four\n";
        assert_eq!(commands(text), "    one\ntwo\n       four\n");
    }

    #[test]
    fn secrets_that_nobody_creates_are_found() {
        let base = Manifests::parse(&read("k8s/base/parta.yaml").unwrap()).unwrap();
        let created = |secret: &str| {
            let text = format!("kind: Secret\nmetadata: {{name: {secret}}}\ndata: {{url: YQ==}}\n");
            Manifests::parse(&text).unwrap()
        };
        let missing = missing_secrets(&base, &created("parta-database-chat"));
        assert!(
            missing.contains(&r#"parta-database-chat "migrate-url""#.to_owned()),
            "{missing:?}"
        );
        assert!(
            !missing.contains(&r#"parta-database-chat "url""#.to_owned()),
            "{missing:?}"
        );
        assert!(missing.contains(&"parta-delivery null".to_owned()), "{missing:?}");
        // The keys of all services are in one volume.
        let single = Manifests::parse(&read("k8s/single-node/parta.yaml").unwrap()).unwrap();
        let missing = missing_secrets(&single, &created("parta-keys-chat"));
        for lost in [r#"parta-keys-chat "chat.pem""#, "parta-keys-membership null"] {
            assert!(missing.contains(&lost.to_owned()), "{lost}: {missing:?}");
        }
    }

    #[test]
    fn short_path_is_on_the_first_screen() {
        let readme = read(DOCUMENTS[0]).unwrap();
        check_short_path(&readme).unwrap();
        for wrong in [
            readme.replace("## The short path", "## A path"),
            readme.replacen("helm install", "helm template", 1),
            readme.replacen("parta keys make", "parta keys rotate", 1),
            format!("{}{readme}", "\n".repeat(FIRST_SCREEN_LINES - 10)),
        ] {
            check_short_path(&wrong).unwrap_err();
        }
    }
}
