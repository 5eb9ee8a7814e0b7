//! Rehearses an installation without internet access: pushes the image and the chart to a local
//! registry, signs and verifies them, and pulls both by digest.
use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::sbom;
use crate::{
    containers::{Engine, PARTA},
    describe, free_port,
    k8s::{CHART, Tools},
    servers, tools,
};

/// A registry that does not accept connections within this time has failed.
const START_LIMIT: Duration = Duration::from_secs(15);
/// The release of Debian with cosign, for machines whose own release has none.
const RELEASE_OF_COSIGN: &str = "trixie";

/// Pushes the image, its SBOM and the chart to a registry, signs them, removes the local image, verifies the
/// signatures, and takes image and chart from the registry by digest. Returns the path of the SBOM.
/// Afterwards the local tag refers to the pulled image.
pub(crate) fn run(engine: &Engine, tools: &Tools) -> anyhow::Result<PathBuf> {
    let folder = tempfile::tempdir()?;
    let cosign = Cosign::new(folder.path())?;
    let registry = Registry::start(folder.path())?;

    let name = format!("{}/parta/parta", registry.address);
    engine.output(&["tag", PARTA, &name])?;
    engine.output(&["push", "--quiet", &name])?;
    let pushed = engine.output(&["image", "inspect", "--format", "{{json .RepoDigests}}", &name])?;
    let pushed: Vec<String> = serde_json::from_str(&pushed)?;
    // The engine also knows digests from registries of earlier rehearsals.
    let reference = pushed
        .into_iter()
        .find(|reference| reference.starts_with(&name))
        .context("the pushed image has no digest")?;
    let (_, digest) = reference.split_once('@').context("no digest")?;

    let list = sbom::write(&reference)?;
    cosign.sign(&reference)?;
    cosign.attest(&reference, &list)?;

    engine.output(&["image", "rm", "--force", &name, &reference, PARTA])?;
    cosign.verify(&reference, &list)?;
    engine.output(&["pull", "--quiet", &reference])?;
    engine.output(&["tag", &reference, PARTA])?;

    chart(tools, &registry.address, digest, folder.path())?;
    println!("xtask: signed, verified, pulled by digest: parta/parta@{digest}");
    Ok(list)
}

/// Pushes the chart, takes it from the registry, and renders it with this registry and this digest.
fn chart(tools: &Tools, registry: &str, digest: &str, folder: &Path) -> anyhow::Result<()> {
    let folder = folder.join("chart");
    let destination = folder.display().to_string();
    tools.helm_output(&["package", CHART, "--destination", &destination])?;
    let packed = fs::read_dir(&folder)?.next().context("no chart was packed")??;
    let charts = format!("oci://{registry}/charts");
    let packed = packed.path().display().to_string();
    tools.helm_output(&["push", &packed, &charts, "--plain-http"])?;
    let (chart, name) = (format!("{charts}/parta"), format!("image.registry={registry}"));
    let digest_value = format!("image.digest={digest}");
    let rendered = tools.helm_output(&[
        "template",
        "parta",
        &chart,
        "--plain-http",
        "--set",
        &name,
        "--set",
        &digest_value,
    ])?;
    let reference = format!("{registry}/parta/parta@{digest}");
    ensure!(
        rendered.contains(&reference),
        "the chart does not name {reference}"
    );
    Ok(())
}

/// A registry on this machine. It stops when this value is dropped.
struct Registry {
    address: String,
    process: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let program = servers::local("docker-registry", "docker-registry", || {
            servers::in_path("docker-registry")
        })?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let (configuration, log) = (folder.join("registry.yaml"), folder.join("registry.log"));
        let data = folder.join("registry");
        fs::write(
            &configuration,
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 http: {{addr: \"{address}\"}}\n",
                data.display()
            ),
        )?;
        let mut serve = Command::new(program);
        serve.arg("serve").arg(&configuration);
        let process = serve
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| describe(&serve))?;
        let registry = Self { address, process };
        let end = Instant::now() + START_LIMIT;
        while TcpStream::connect(&registry.address).is_err() {
            if Instant::now() > end {
                bail!("the registry does not start:\n{}", fs::read_to_string(&log)?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(registry)
    }
}

/// The signing program with a pair of keys of its own.
struct Cosign {
    program: PathBuf,
    keys: PathBuf,
}

impl Cosign {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let program = match servers::in_path("cosign") {
            Some(program) => program,
            None => tools::debian("cosign", "usr/bin/cosign", RELEASE_OF_COSIGN)?,
        };
        let cosign = Self {
            program,
            keys: folder.join("rehearsal"),
        };
        cosign.run(
            &["generate-key-pair", "--output-key-prefix"],
            &[cosign.keys.display().to_string()],
        )?;
        Ok(cosign)
    }

    fn run(&self, arguments: &[&str], last: &[String]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(last);
        // The key lives as long as this rehearsal.
        command.env("COSIGN_PASSWORD", "");
        let output = command.stdin(Stdio::null()).output()?;
        ensure!(
            output.status.success(),
            "{}: {}",
            describe(&command),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    fn key(&self, extension: &str) -> String {
        self.keys.with_extension(extension).display().to_string()
    }

    /// Signs without the transparency log, because it cannot be reached.
    fn sign(&self, reference: &str) -> anyhow::Result<()> {
        let last = [self.key("key"), reference.to_owned()];
        self.run(&["sign", "--yes", "--tlog-upload=false", "--key"], &last)?;
        Ok(())
    }

    /// Signs the SBOM and stores it beside the image.
    fn attest(&self, reference: &str, list: &Path) -> anyhow::Result<()> {
        let arguments = ["attest", "--yes", "--tlog-upload=false", "--type", "spdxjson"];
        let list = format!("--predicate={}", list.display());
        let key = format!("--key={}", self.key("key"));
        self.run(&arguments, &[list, key, reference.to_owned()])?;
        Ok(())
    }

    /// Verifies the signature, and that the SBOM that was signed is this one. Another key must be refused.
    fn verify(&self, reference: &str, list: &Path) -> anyhow::Result<()> {
        let offline = "--insecure-ignore-tlog=true";
        let last = [self.key("pub"), reference.to_owned()];
        self.run(&["verify", offline, "--key"], &last)?;
        let attestation = ["verify-attestation", offline, "--type", "spdxjson", "--key"];
        let output = self.run(&attestation, &last)?;
        let payload: Value = serde_json::from_str(output.lines().next().unwrap_or_default())?;
        let payload = payload["payload"].as_str().context("no payload")?;
        let statement: Value = serde_json::from_slice(&base64(payload)?)?;
        let signed: Value = serde_json::from_str(&fs::read_to_string(list)?)?;
        ensure!(
            statement["predicate"] == signed,
            "another list of components was signed"
        );
        let foreign = tempfile::tempdir()?;
        let other = Self {
            program: self.program.clone(),
            keys: foreign.path().join("other"),
        };
        other.run(
            &["generate-key-pair", "--output-key-prefix"],
            &[other.keys.display().to_string()],
        )?;
        let last = [other.key("pub"), reference.to_owned()];
        ensure!(
            other.run(&["verify", offline, "--key"], &last).is_err(),
            "a signature of another key is accepted"
        );
        Ok(())
    }
}

/// Decodes base64 with the program of the system.
fn base64(text: &str) -> anyhow::Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), text)?;
    let output = Command::new("base64").arg("--decode").arg(file.path()).output()?;
    ensure!(output.status.success(), "base64 cannot decode the statement");
    Ok(output.stdout)
}
