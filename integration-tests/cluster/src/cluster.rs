//! The cluster: all pods of the render, the servers that they use, and a gateway for their codes.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::{BoxFuture, join_all};
use parta::{client::Endpoints, demo};
use parta_grpc::{ClientBuilder, Target};
use parta_ids::Env;
use parta_integration_tests::Suite;
use parta_proto_all::PACKAGES;
use parta_testkit::{Authority, SmsGateway};
use serde_json::json;
use tokio_util::task::TaskTracker;
use tonic::transport::{Certificate, ClientTlsConfig};
use tonic_health::pb::health_client::HealthClient;

use crate::{
    IMAGE, MANIFESTS, SINGLE_NODE, UPGRADED_IMAGE,
    balancer::{Balancer, Pods},
    given,
    manifests::{Secrets, Workload, certificates, workloads},
    network::Network,
    pod::{Node, Pod, readiness},
    servers::Servers,
};

/// The name of the SMS gateway in every pod.
const SMS_GATEWAY: &str = "sms-gateway";
/// The secret of the gateway's account.
const SMS_SECRET: &str = "the-key-of-the-account";
/// The folder in which the chart mounts the files that settings name.
const FILES: &str = "/etc/parta/files";
/// The name of the server for clients, which each certificate has, and which leads to the balancers.
const PUBLIC: &str = "localhost";
/// The workload with all services.
const ALL: &str = "parta";

pub struct Images {
    /// This commit.
    pub current: String,
    /// This commit with one more migration.
    pub upgraded: Option<String>,
}

impl Images {
    /// Reads the images that `cargo xtask cluster` built.
    pub fn given() -> Self {
        Self {
            current: given(IMAGE),
            upgraded: std::env::var(UPGRADED_IMAGE).ok(),
        }
    }
}

/// The file with the certificate of the authority.
const AUTHORITY: &str = "ca.crt";

pub struct Cluster {
    workloads: Vec<Workload>,
    /// By workload.
    pods: BTreeMap<String, Pods>,
    balancers: BTreeMap<String, Balancer>,
    node: Node,
    /// `None` for a single node, which needs none.
    servers: Option<Servers>,
    sms: Arc<SmsGateway>,
    /// The authority of all certificates of the listeners.
    authority: Authority,
    /// The keys, the volumes, and the certificate of the authority.
    folder: tempfile::TempDir,
    /// Numbers the pods, so that a new one has a new name.
    number: AtomicUsize,
    tasks: TaskTracker,
}

impl Cluster {
    /// Starts everything, and waits until all pods are ready.
    pub async fn start(image: &str) -> Self {
        let network = create_network().await;
        let servers = Servers::start(&network).await;
        Self::with_pods(image, MANIFESTS, network, Some(servers)).await
    }

    /// Starts the profile `single-node`: one process with all services, on SQLite in a volume.
    pub async fn start_single_node(image: &str) -> Self {
        Self::with_pods(image, SINGLE_NODE, create_network().await, None).await
    }

    async fn with_pods(image: &str, manifests: &str, network: Network, servers: Option<Servers>) -> Self {
        let of_gateway = Authority::new();
        let certificate = of_gateway.issue(SMS_GATEWAY);
        let sms = SmsGateway::start_tls_at(&certificate, network.gateway()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let (keys, volumes) = (folder.path().join("keys"), folder.path().join("volumes"));
        parta_runtime::make_keys(&parta::SERVICES, &keys, &Env::system()).expect("keys");
        std::fs::create_dir(&volumes).expect("a folder");
        let manifests = std::fs::read_to_string(given(manifests)).expect("the render of the chart");
        let mut secrets = secrets(&keys, &sms, &of_gateway);
        let authority = Authority::new();
        secrets.extend(tls_secrets(&manifests, &authority));
        std::fs::write(folder.path().join(AUTHORITY), authority.certificate()).expect("a file");
        let workloads = workloads(&manifests, &secrets);
        let mut hosts = vec![(SMS_GATEWAY, network.gateway())];
        if servers.is_some() {
            hosts.extend(Servers::hosts(&network));
        }
        let cluster = Self {
            pods: workloads
                .iter()
                .map(|workload| (workload.name.clone(), Pods::default()))
                .collect(),
            balancers: BTreeMap::new(),
            node: Node {
                hosts,
                network,
                volumes,
            },
            workloads,
            servers,
            sms: Arc::new(sms),
            authority,
            folder,
            number: AtomicUsize::new(1),
            tasks: TaskTracker::new(),
        };
        let all = cluster
            .workloads
            .iter()
            .flat_map(|workload| std::iter::repeat_n(workload, workload.replicas));
        join_all(all.map(|workload| cluster.add(workload, image))).await;
        cluster.with_balancers().await
    }

    async fn with_balancers(mut self) -> Self {
        for (service, pods) in &self.pods {
            let balancer = Balancer::start(pods.clone()).await;
            self.balancers.insert(service.clone(), balancer);
        }
        self
    }

    async fn add(&self, workload: &Workload, image: &str) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (node, workload, image) = (self.node.clone(), workload.clone(), image.to_owned());
        let pods = self.pods[&workload.name].clone();
        // A task of its own, because it drops containers ([`Cluster::discard`]).
        let started = self
            .tasks
            .spawn(async move { node.start(&workload, &image, number).await });
        pods.add(Arc::new(started.await.expect("the pod starts")));
    }

    fn workload(&self, service: &str) -> &Workload {
        let mut all = self.workloads.iter();
        all.find(|workload| workload.name == service)
            .expect("a service of the render")
    }

    /// Returns the longest time that a pod took from its start to readiness, in milliseconds, by service.
    pub fn starts(&self) -> BTreeMap<String, u128> {
        let slowest = |pods: &Pods| {
            let all = pods.all();
            all.iter()
                .map(|pod| pod.start.as_millis())
                .max()
                .unwrap_or_default()
        };
        let of = |(service, pods): (&String, &Pods)| (service.clone(), slowest(pods));
        self.pods.iter().map(of).collect()
    }

    fn addresses(&self) -> BTreeMap<String, String> {
        let of = |service: &parta_runtime::Service| {
            let own = self.balancers.get(service.name);
            let balancer = own.unwrap_or_else(|| &self.balancers[ALL]);
            let port = balancer.address.port();
            (service.name.to_owned(), format!("https://{PUBLIC}:{port}"))
        };
        parta::SERVICES.iter().map(of).collect()
    }

    /// Returns the cluster as a suite, seen from outside.
    pub fn suite(&self) -> Suite {
        let authority = self.authority.certificate();
        Suite::elsewhere(self.addresses(), &authority, self.keys(), self.sms.clone())
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Returns whether a client reaches every service, if it trusts the authority of the cluster, or an
    /// unknown one.
    pub async fn is_reached(&self, by_known_authority: bool) -> bool {
        let unknown = Authority::new();
        let authority = if by_known_authority {
            &self.authority
        } else {
            &unknown
        };
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.certificate()));
        let builder = ClientBuilder::new(Env::system(), PACKAGES).tls(Arc::new(move || tls.clone()));
        let requests = self.addresses().into_values().map(|address| {
            let channel = builder
                .channel("health", Target::Uri(address))
                .expect("a channel");
            async { HealthClient::new(channel).check(readiness()).await.is_ok() }
        });
        let reached = join_all(requests).await;
        assert!(
            reached.iter().all(|one| *one == reached[0]),
            "some services are reached: {reached:?}"
        );
        reached[0]
    }

    /// Plays `parta demo` from outside. Returns its steps.
    pub async fn demo(&self) -> Vec<demo::Step> {
        let endpoints = Endpoints {
            own: self.addresses(),
            authority: Some(self.folder.path().join(AUTHORITY)),
            ..Endpoints::default()
        };
        let key = std::fs::read_to_string(self.keys().join("operator.key")).expect("the operator's key");
        let codes = Codes(self.sms.clone());
        let played = demo::play_with_codes(&endpoints, &key, &codes, |_| ()).await;
        played.unwrap_or_else(|error| panic!("the demo failed: {error:#}"))
    }

    /// Returns the resident memory of a pod at rest in MiB.
    pub async fn memory_at_rest(&self, service: &str) -> f64 {
        self.pod(service).memory_at_rest().await
    }

    /// Returns the pod of a service that has the most connections of clients.
    fn pod(&self, service: &str) -> Arc<Pod> {
        let all = self.pods[service].all();
        let busiest = all.iter().max_by_key(|pod| pod.clients.load(Ordering::Relaxed));
        busiest.expect("a pod of the service").clone()
    }

    /// Kills a pod, and starts another one in its place.
    pub async fn kill(&self, service: &str, image: &str) {
        let pod = self.pod(service);
        pod.kill().await;
        self.pods[service].remove(&pod);
        self.discard(pod).await;
        self.add(self.workload(service), image).await;
    }

    /// Pauses a pod while `meanwhile` runs.
    pub async fn pause(&self, service: &str, meanwhile: impl Future<Output = ()>) {
        let pod = self.pod(service);
        pod.pause().await;
        meanwhile.await;
        pod.unpause().await;
    }

    /// Takes a pod off the network while `meanwhile` runs.
    pub async fn disconnect(&self, service: &str, meanwhile: impl Future<Output = ()>) {
        let pod = self.pod(service);
        pod.disconnect().await;
        meanwhile.await;
        pod.reconnect().await;
    }

    /// Replaces the pods of all services, one after the other within a service. A new pod is ready before the
    /// old one stops.
    pub async fn replace_all(&self, image: &str) {
        join_all(
            self.workloads
                .iter()
                .map(|workload| self.replace(workload, image)),
        )
        .await;
    }

    /// [`Cluster::replace_all`] for one pod of a service, so that two versions serve.
    pub async fn replace_one(&self, service: &str, image: &str) {
        let old = self.pod(service);
        self.replace_pod(self.workload(service), old, image).await;
    }

    async fn replace(&self, workload: &Workload, image: &str) {
        for old in self.pods[&workload.name].all() {
            self.replace_pod(workload, old, image).await;
        }
    }

    async fn replace_pod(&self, workload: &Workload, old: Arc<Pod>, image: &str) {
        self.add(workload, image).await;
        old.stop().await;
        self.pods[&workload.name].remove(&old);
        self.discard(old).await;
    }

    /// Removes a container, by a task of its own. A container that is dropped blocks its thread until the
    /// engine has removed it. On the thread of the test, that loses wake-ups of the other futures of the
    /// test.
    async fn discard(&self, pod: impl Send + 'static) {
        let dropped = self.tasks.spawn(async move { drop(pod) });
        dropped.await.expect("the container is removed");
    }

    /// Crashes PostgreSQL. Returns the seconds until it accepted connections again.
    pub async fn crash_postgresql(&self) -> f64 {
        let servers = self.servers.as_ref().expect("a cluster with PostgreSQL");
        servers.crash_postgresql().await.as_secs_f64()
    }

    pub async fn crash_nats(&self) {
        let servers = self.servers.as_ref().expect("a cluster with NATS");
        servers.crash_nats().await;
    }

    /// Removes everything.
    pub async fn stop(mut self) {
        let (pods, balancers) = (
            std::mem::take(&mut self.pods),
            std::mem::take(&mut self.balancers),
        );
        self.discard((pods, balancers)).await;
        let Self { servers, tasks, .. } = self;
        let dropped = tasks.spawn(async move { drop(servers) });
        dropped.await.expect("the containers are removed");
        self.node.network.remove().await;
    }
}

async fn create_network() -> Network {
    Network::create(&format!("parta-{}", Env::system().ids.uuid())).await
}

/// Makes the certificates of the listeners, as cert-manager does.
fn tls_secrets(manifests: &str, authority: &Authority) -> Secrets {
    let make = |certificate: crate::manifests::Certificate| {
        let names: Vec<_> = certificate.names.iter().map(String::as_str).collect();
        let issued = authority.issue_for(&names);
        let files = [
            ("tls.crt", issued.certificate),
            ("tls.key", issued.key),
            ("ca.crt", authority.certificate()),
        ]
        .map(|(name, text)| (name.to_owned(), text));
        (certificate.secret, files.into())
    };
    certificates(manifests).into_iter().map(make).collect()
}

/// The codes that the gateway receives.
struct Codes(Arc<SmsGateway>);

impl demo::Codes for Codes {
    fn code<'a>(&'a self, phone: &'a str) -> BoxFuture<'a, anyhow::Result<String>> {
        Box::pin(async move { Ok(self.0.next_code(phone).await) })
    }
}

/// The Secrets that k8s/README.md requires, with the authority of the SMS gateway.
fn secrets(keys: &Path, sms: &SmsGateway, authority: &Authority) -> Secrets {
    let mut secrets = Secrets::new();
    for service in &parta::SERVICES {
        let name = service.name;
        let files = parta_runtime::key_files(keys, service, &parta::SERVICES).expect("keys");
        secrets.insert(format!("parta-keys-{name}"), files);
        secrets.insert(format!("parta-database-{name}"), Servers::database_secret(name));
    }
    let ca = format!("{FILES}/ca.crt");
    let url = sms.url_by(SMS_GATEWAY, "/sms/send");
    // The request of config/single-node.toml.
    let delivery = [
        ("DELIVERY", "sms_gateway"),
        ("SMS_URL", &url),
        ("SMS_BODY", "api_id={secret}&to={phone_digits}&msg={text}&json=1"),
        (
            "SMS_RESULT_FIELDS",
            &json!(["/sms/{phone_digits}/status_code", "/status_code"]).to_string(),
        ),
        ("SMS_ACCEPTED_RESULTS", &json!(["100"]).to_string()),
        ("SMS_TEMPORARY_RESULTS", &json!(["220"]).to_string()),
        ("SMS_SECRET", SMS_SECRET),
        ("SMS_CA_FILE", &ca),
    ]
    .map(|(key, value)| (format!("PARTA__MEMBERSHIP__{key}"), value.to_owned()));
    secrets.insert("parta-delivery".to_owned(), delivery.into());
    let files = BTreeMap::from([("ca.crt".to_owned(), authority.certificate())]);
    secrets.insert("parta-membership-files".to_owned(), files);
    secrets
}
