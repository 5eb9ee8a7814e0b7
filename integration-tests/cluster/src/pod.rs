//! Pods: containers that run as a Deployment or a StatefulSet of the render says.
use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use parta_grpc::{ClientBuilder, ServiceChannel, Target};
use parta_ids::Env;
use parta_integration_tests::resident_kib;
use parta_proto_all::PACKAGES;
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt as _,
    bollard::{models::ContainerState, query_parameters::KillContainerOptionsBuilder},
    core::{AccessMode, Host, Mount, logs::LogFrame},
    runners::AsyncRunner as _,
};
use tokio::sync::watch;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    LOGS, given,
    manifests::{Container, Content, Workload},
    network::Network,
};

/// Time limit of a start, until readiness.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Time limit of one look at the readiness of a pod, as that of the probes of the chart.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// A process whose memory has not changed for this long is at rest.
const AT_REST_AFTER: Duration = Duration::from_secs(1);
/// The message of a process that listens.
const SERVING: &str = "\"message\":\"serving\"";

pub(crate) struct Pod {
    pub(crate) name: String,
    service: String,
    container: ContainerAsync<GenericImage>,
    network: Network,
    grace_seconds: i32,
    port: u16,
    health_port: u16,
    /// Number of open connections of clients.
    pub(crate) clients: AtomicUsize,
    /// From the start of the process that serves until readiness.
    pub(crate) start: Duration,
    _secrets: Vec<tempfile::TempDir>,
}

/// The place where pods run.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) network: Network,
    /// The names of the SMS gateway and of the servers in every pod, with their addresses.
    pub(crate) hosts: Vec<(&'static str, IpAddr)>,
    /// The folder of the volumes.
    pub(crate) volumes: PathBuf,
}

impl Node {
    /// Runs the first containers of a pod one after the other, starts the one that serves, and waits until it
    /// is ready.
    pub(crate) async fn start(&self, workload: &Workload, image: &str, number: usize) -> Pod {
        let name = format!("{}-{number}", workload.name);
        for (step, first) in workload.first.iter().enumerate() {
            self.run(first, image, &format!("{name}-first-{step}")).await;
        }
        let (request, secrets, serving) = self.request(&workload.serves, image, &name).await;
        let container = request.start().await.expect("the container starts");
        self.network.name_pod(container.id(), &workload.name).await;
        let mut pod = Pod {
            name,
            service: workload.name.clone(),
            container,
            network: self.network.clone(),
            grace_seconds: workload.grace_seconds,
            port: workload.port,
            health_port: workload.health_port,
            clients: AtomicUsize::new(0),
            start: Duration::ZERO,
            _secrets: secrets,
        };
        let ready = tokio::time::timeout(START_LIMIT, pod.until_ready(serving)).await;
        ready.unwrap_or_else(|_| panic!("{} is not ready after {START_LIMIT:?}; {}", pod.name, logs()));
        let ready = Env::system().now();
        let began = pod.began().await.expect("a running pod has begun");
        pod.start = (ready - began).to_std().unwrap_or_default();
        pod
    }

    /// Runs a container to its end.
    async fn run(&self, container: &Container, image: &str, name: &str) {
        let (request, _secrets, _) = self.request(container, image, name).await;
        let container = request.start().await.expect("the container starts");
        let mut ends = self.network.docker().wait_container(container.id(), None);
        // An exit code other than 0 is an error of the client.
        let ended = ends.next().await.expect("the container ends");
        ended.unwrap_or_else(|error| panic!("{name}: {error}; {}", logs()));
    }

    /// Returns a container with all settings of the manifest, and the line that says that it listens.
    async fn request(
        &self,
        container: &Container,
        image: &str,
        name: &str,
    ) -> (
        ContainerRequest<GenericImage>,
        Vec<tempfile::TempDir>,
        watch::Receiver<bool>,
    ) {
        if container.non_root && container.user.is_none() {
            self.check_user(image).await;
        }
        let (repository, tag) = image.rsplit_once(':').expect("an image with a tag");
        let memory = container.memory_bytes;
        let group = container.volume_group;
        let (consume, serving) = log(name);
        let mut request = GenericImage::new(repository, tag)
            .with_cmd(container.arguments.clone())
            .with_network(self.network.nodes())
            .with_readonly_rootfs(container.read_only)
            .with_log_consumer(consume)
            .with_startup_timeout(START_LIMIT)
            .with_host_config_modifier(move |config| {
                config.memory = Some(memory);
                config.memory_swap = Some(memory);
                config.group_add = group.map(|group| vec![group.to_string()]);
            });
        for (name, address) in &self.hosts {
            request = request.with_host(*name, Host::Addr(*address));
        }
        for capability in &container.dropped {
            request = request.with_cap_drop(capability);
        }
        if !container.escalation {
            request = request.with_security_opt("no-new-privileges:true");
        }
        if let Some(user) = &container.user {
            request = request.with_user(user);
        }
        for (key, value) in &container.environment {
            request = request.with_env_var(key, value);
        }
        let mut secrets = Vec::new();
        for mount in &container.mounts {
            request = request.with_mount(match &mount.content {
                Content::Empty => Mount::tmpfs_mount(&mount.path),
                Content::Volume(claim) => {
                    let volume = self.volume(claim, container.volume_group);
                    Mount::bind_mount(volume.display().to_string(), &mount.path)
                }
                Content::Files(files) => {
                    let folder = tempfile::tempdir().expect("a folder");
                    for (name, text) in files {
                        write_secret(&folder.path().join(name), text);
                    }
                    allow(folder.path(), 0o755);
                    let path = folder.path().display().to_string();
                    secrets.push(folder);
                    Mount::bind_mount(path, &mount.path).with_access_mode(AccessMode::ReadOnly)
                }
            });
        }
        (request, secrets, serving)
    }

    /// Returns the folder of a volume, and creates it for the first pod. The group owns the volume and every
    /// file that is created in it, which is the effect of `fsGroup`.
    fn volume(&self, claim: &str, group: Option<u32>) -> PathBuf {
        let folder = self.volumes.join(claim);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return folder,
            created => created.expect("a folder"),
        }
        // Only root can give a folder to the group. For other users of the machine, every process may write.
        let mode = chown(&folder, None, group).map_or(0o2777, |()| 0o2770);
        allow(&folder, mode);
        folder
    }

    /// Fails if the user of the image is root or a name, which Kubernetes refuses with `runAsNonRoot`.
    async fn check_user(&self, image: &str) {
        let found = self
            .network
            .docker()
            .inspect_image(image)
            .await
            .expect("the image");
        let user = found.config.and_then(|config| config.user).unwrap_or_default();
        let id = user.split(':').next().and_then(|id| id.parse::<u32>().ok());
        assert!(
            id.is_some_and(|id| id != 0),
            "{image} runs as {user:?}, which runAsNonRoot refuses"
        );
    }
}

/// Writes a file of a Secret. Group 0 reads it, as with the mode 0440 of the chart.
fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    allow(path, 0o440);
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

/// Names the folder of the logs.
fn logs() -> String {
    format!("the logs are in {}", given(LOGS))
}

/// Writes the log of a container to a file, and says when it has the line of a process that listens.
fn log(name: &str) -> (impl Fn(&LogFrame) + Send + Sync + use<>, watch::Receiver<bool>) {
    let path = Path::new(&given(LOGS)).join(format!("{name}.log"));
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    let file = Arc::new(Mutex::new(file.expect("a file of the log")));
    let (sender, serving) = watch::channel(false);
    let consume = move |frame: &LogFrame| {
        let bytes = frame.bytes();
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(bytes).expect("the log is written");
        if String::from_utf8_lossy(bytes).contains(SERVING) {
            sender.send_replace(true);
        }
    };
    (consume, serving)
}

impl Pod {
    /// Waits until the process listens and reports that it is ready.
    async fn until_ready(&self, mut serving: watch::Receiver<bool>) {
        let listens = serving.wait_for(|serving| *serving).await.is_ok();
        assert!(listens, "{} ended at its start; {}", self.name, logs());
        let address = self.address(self.health_port).await;
        let address = address.expect("a running pod has an address");
        let watched = HealthClient::new(channel(address)).watch(readiness()).await;
        let mut watched = watched.expect("a stream of health").into_inner();
        while let Ok(Some(change)) = watched.message().await {
            if change.status() == ServingStatus::Serving {
                return;
            }
        }
        panic!("{} ended before it was ready; {}", self.name, logs());
    }

    /// Returns the address for clients if the pod reports that it is ready.
    pub(crate) async fn ready_address(&self) -> Option<SocketAddr> {
        let check = async {
            let health = self.address(self.health_port).await?;
            let checked = HealthClient::new(channel(health)).check(readiness()).await;
            let is_ready = checked.ok()?.into_inner().status() == ServingStatus::Serving;
            is_ready.then_some(SocketAddr::new(health.ip(), self.port))
        };
        tokio::time::timeout(PROBE_LIMIT, check).await.ok()?
    }

    async fn address(&self, port: u16) -> Option<SocketAddr> {
        let ip = self.network.address(self.container.id()).await?;
        Some(SocketAddr::new(ip, port))
    }

    /// Returns the moment at which the process started.
    async fn began(&self) -> Option<DateTime<Utc>> {
        let began = self.state().await.started_at?;
        Some(DateTime::parse_from_rfc3339(&began).ok()?.to_utc())
    }

    async fn state(&self) -> ContainerState {
        let docker = self.network.docker();
        let found = docker.inspect_container(self.container.id(), None).await;
        found
            .ok()
            .and_then(|found| found.state)
            .expect("a container has a state")
    }

    /// Returns the resident memory of the process in MiB once it has not changed for a second. The process
    /// must run on this machine.
    pub(crate) async fn memory_at_rest(&self) -> f64 {
        let id = self.state().await.pid.expect("a running process");
        let id = u32::try_from(id).expect("the id of a process");
        let (mut last, mut since) = (resident_kib(id), Instant::now());
        let rests = async {
            while since.elapsed() < AT_REST_AFTER {
                tokio::time::sleep(AT_REST_AFTER / 10).await;
                let now = resident_kib(id);
                if now != last {
                    (last, since) = (now, Instant::now());
                }
            }
            last / 1024.0
        };
        let rest = tokio::time::timeout(START_LIMIT, rests).await;
        rest.expect("the memory of a process without calls does not change")
    }

    /// Ends the processes at once.
    pub(crate) async fn kill(&self) {
        let signal = KillContainerOptionsBuilder::new().signal("KILL").build();
        let killed = self
            .network
            .docker()
            .kill_container(self.container.id(), Some(signal));
        killed.await.expect("the container runs");
    }

    /// Stops the pod as Kubernetes does: SIGTERM, and SIGKILL after the grace period.
    pub(crate) async fn stop(&self) {
        let began = Instant::now();
        let stopped = self.container.stop_with_timeout(Some(self.grace_seconds)).await;
        stopped.expect("the container stops");
        let grace = Duration::from_secs(self.grace_seconds.unsigned_abs().into());
        assert!(
            began.elapsed() < grace,
            "{} was killed at the end of its grace period; {}",
            self.name,
            logs()
        );
    }

    pub(crate) async fn pause(&self) {
        self.container.pause().await.expect("the container runs");
    }

    pub(crate) async fn unpause(&self) {
        self.container.unpause().await.expect("the container is paused");
    }

    /// Disconnects the pod from both networks.
    pub(crate) async fn disconnect(&self) {
        self.network.disconnect_pod(self.container.id()).await;
    }

    /// Ends [`Pod::disconnect`].
    pub(crate) async fn reconnect(&self) {
        self.network
            .reconnect_pod(self.container.id(), &self.service)
            .await;
    }
}

fn channel(address: SocketAddr) -> ServiceChannel {
    let target = Target::Uri(format!("http://{address}"));
    let built = ClientBuilder::new(Env::system(), PACKAGES).channel("health", target);
    built.expect("a channel")
}

pub(crate) fn readiness() -> HealthCheckRequest {
    HealthCheckRequest {
        service: "readiness".to_owned(),
    }
}
