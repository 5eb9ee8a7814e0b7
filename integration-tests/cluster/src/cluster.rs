//! The cluster: all pods of the render, the servers that they use, and a gateway for their codes.
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::{BoxFuture, join_all};
use parta::{client::Endpoints, demo};
use parta_ids::Env;
use parta_integration_tests::Suite;
use parta_testkit::{Authority, SmsGateway};
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::{
    IMAGE, MANIFESTS, UPGRADED_IMAGE,
    balancer::{Balancer, Pods},
    given,
    manifests::{Deployment, Secrets, deployments},
    network::Network,
    pod::{Node, Pod},
    servers::Servers,
};

/// The name of the SMS gateway in every pod.
const SMS_GATEWAY: &str = "sms-gateway";
/// The secret of the gateway's account.
const SMS_SECRET: &str = "the-key-of-the-account";
/// The folder in which the chart mounts the files that settings name.
const FILES: &str = "/etc/parta/files";

/// The images of a test.
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

/// A running cluster.
pub struct Cluster {
    deployments: Vec<Deployment>,
    pods: BTreeMap<String, Pods>,
    balancers: BTreeMap<String, Balancer>,
    node: Node,
    servers: Servers,
    sms: Arc<SmsGateway>,
    keys: tempfile::TempDir,
    /// Numbers the pods, so that a new one has a new name.
    number: AtomicUsize,
    tasks: TaskTracker,
}

impl Cluster {
    /// Starts everything, and waits until all pods are ready.
    pub async fn start(image: &str) -> Self {
        let env = Env::system();
        let network = Network::create(&format!("parta-{}", env.ids.uuid())).await;
        let servers = Servers::start(&network).await;
        let authority = Authority::new();
        let certificate = authority.issue(SMS_GATEWAY);
        let sms = SmsGateway::start_tls_at(&certificate, network.gateway()).await;
        let keys = tempfile::tempdir().expect("a folder");
        parta_runtime::make_keys(&parta::SERVICES, keys.path(), &env).expect("keys");
        let manifests = std::fs::read_to_string(given(MANIFESTS)).expect("the render of the chart");
        let secrets = secrets(keys.path(), &sms, &authority);
        let deployments = deployments(&manifests, &secrets);
        let cluster = Self {
            pods: deployments
                .iter()
                .map(|deployment| (deployment.name.clone(), Pods::default()))
                .collect(),
            balancers: BTreeMap::new(),
            node: Node {
                hosts: Servers::hosts(&network)
                    .into_iter()
                    .chain([(SMS_GATEWAY, network.gateway())])
                    .collect(),
                network,
            },
            deployments,
            servers,
            sms: Arc::new(sms),
            keys,
            number: AtomicUsize::new(1),
            tasks: TaskTracker::new(),
        };
        let all = cluster
            .deployments
            .iter()
            .flat_map(|deployment| std::iter::repeat_n(deployment, deployment.replicas));
        join_all(all.map(|deployment| cluster.add(deployment, image))).await;
        cluster.with_balancers().await
    }

    async fn with_balancers(mut self) -> Self {
        for (service, pods) in &self.pods {
            let balancer = Balancer::start(pods.clone()).await;
            self.balancers.insert(service.clone(), balancer);
        }
        self
    }

    async fn add(&self, deployment: &Deployment, image: &str) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (node, deployment, image) = (self.node.clone(), deployment.clone(), image.to_owned());
        let pods = self.pods[&deployment.name].clone();
        // A task of its own, because it drops containers ([`Cluster::discard`]).
        let started = self
            .tasks
            .spawn(async move { node.start(&deployment, &image, number).await });
        pods.add(Arc::new(started.await.expect("the pod starts")));
    }

    fn deployment(&self, service: &str) -> &Deployment {
        let mut all = self.deployments.iter();
        all.find(|deployment| deployment.name == service)
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
        let of = |(service, balancer): (&String, &Balancer)| {
            (service.clone(), format!("http://{}", balancer.address))
        };
        self.balancers.iter().map(of).collect()
    }

    /// Returns the cluster as a suite, seen from outside.
    pub fn suite(&self) -> Suite {
        Suite::elsewhere(self.addresses(), self.keys_folder(), self.sms.clone())
    }

    fn keys_folder(&self) -> PathBuf {
        self.keys.path().to_owned()
    }

    /// Plays `parta demo` from outside. Returns the number of its steps.
    pub async fn demo(&self) -> usize {
        let endpoints = Endpoints {
            own: self.addresses(),
            ..Endpoints::default()
        };
        let key = std::fs::read_to_string(self.keys.path().join("operator.key")).expect("the operator's key");
        let codes = Codes(self.sms.clone());
        let played = demo::play_with_codes(&endpoints, &key, &codes, |_| ()).await;
        played
            .unwrap_or_else(|error| panic!("the demo failed: {error:#}"))
            .len()
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
        self.add(self.deployment(service), image).await;
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
            self.deployments
                .iter()
                .map(|deployment| self.replace(deployment, image)),
        )
        .await;
    }

    /// [`Cluster::replace_all`] for one pod of a service, so that two versions serve.
    pub async fn replace_one(&self, service: &str, image: &str) {
        let old = self.pod(service);
        self.replace_pod(self.deployment(service), old, image).await;
    }

    async fn replace(&self, deployment: &Deployment, image: &str) {
        for old in self.pods[&deployment.name].all() {
            self.replace_pod(deployment, old, image).await;
        }
    }

    async fn replace_pod(&self, deployment: &Deployment, old: Arc<Pod>, image: &str) {
        self.add(deployment, image).await;
        old.stop().await;
        self.pods[&deployment.name].remove(&old);
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
        self.servers.crash_postgresql().await.as_secs_f64()
    }

    /// Crashes NATS.
    pub async fn crash_nats(&self) {
        self.servers.crash_nats().await;
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

/// The codes that the gateway receives.
struct Codes(Arc<SmsGateway>);

impl demo::Codes for Codes {
    fn code<'a>(&'a self, phone: &'a str) -> BoxFuture<'a, anyhow::Result<String>> {
        Box::pin(async move { Ok(self.0.next_code(phone).await) })
    }
}

/// The Secrets that k8s/README.md requires.
fn secrets(keys: &std::path::Path, sms: &SmsGateway, authority: &Authority) -> Secrets {
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
