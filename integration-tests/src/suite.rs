use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parta_access::{KeyPair, ServiceIdentity};
use parta_grpc::{ClientBuilder, ServiceChannel, Target};
use parta_ids::Ambient;
use parta_runtime::{Running, Sources};
use parta_testkit::TestDatabase;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{Client, Process};

/// LiveKit as the tests' suites know it; no server stands behind it, join tokens are made all the same.
const LIVEKIT: [(&str, &str); 3] = [
    ("call_scheduling.livekit_url", "wss://media.example"),
    ("call_scheduling.livekit_api_key", "key"),
    (
        "call_scheduling.livekit_api_secret",
        "a-secret-of-a-test-that-is-long-enough",
    ),
];

/// The whole suite, running. Cheap to clone; [`Suite::stop`] ends it in order.
#[derive(Clone)]
pub struct Suite {
    client: Client,
    operator: Client,
    keys: PathBuf,
    addresses: Arc<BTreeMap<String, String>>,
    inner: Arc<Mutex<Option<Inner>>>,
}

enum Inner {
    Together(Box<Running>, Arc<tempfile::TempDir>),
    Processes(Processes),
}

/// Real processes, how they were started, and what has to outlive them.
struct Processes {
    running: BTreeMap<&'static str, Process>,
    program: String,
    /// The words by which the program serves all services.
    composed: Vec<String>,
    settings: Vec<(String, String)>,
    _databases: Vec<TestDatabase>,
    _folder: tempfile::TempDir,
}

/// The process of all services.
const PARTA: &str = "parta";

impl Processes {
    fn start(&self, words: &[&str]) -> Process {
        let settings = self.settings.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        Process::start(&self.program, words, settings)
    }

    fn set(&mut self, key: &str, value: &str) {
        let name = format!("PARTA__{}", key.replace('.', "__").to_uppercase());
        self.settings.push((name, value.to_owned()));
    }

    fn serve(&mut self, name: &'static str) -> &mut Process {
        let composed: Vec<&str> = self.composed.iter().map(String::as_str).collect();
        let words: &[&str] = if name == PARTA {
            &composed
        } else {
            &[name, "serve"]
        };
        let process = self.start(words);
        self.running.entry(name).insert_entry(process).into_mut()
    }

    /// The process that runs a service.
    fn of(&self, service: &'static str) -> &'static str {
        if self.running.contains_key(PARTA) || self.running.is_empty() {
            PARTA
        } else {
            service
        }
    }
}

impl Suite {
    /// Five services in this process, on five SQLite files of a temporary folder.
    pub async fn one_process() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::one_process_in(Arc::new(folder), &[]).await
    }

    /// [`Suite::one_process`] on a folder that a test keeps, with settings `key=value` of its own.
    pub async fn one_process_in(folder: Arc<tempfile::TempDir>, settings: &[&str]) -> Self {
        let path = folder.path().to_owned();
        let set = [
            format!("data.folder={}", path.display()),
            "server.listen=127.0.0.1:0".to_owned(),
            "server.grace_seconds=5".to_owned(),
        ];
        let own = settings.iter().map(|s| (*s).to_owned());
        let livekit = LIVEKIT.iter().map(|(key, value)| format!("{key}={value}"));
        let (settings, _) = Sources::set(set.into_iter().chain(livekit).chain(own))
            .load(&parta::SERVICES)
            .expect("settings");
        let running = parta_runtime::compose(&parta::SERVICES, &settings)
            .await
            .expect("the suite starts");
        let address = format!("http://{}", running.address());
        let addresses = parta::SERVICES
            .iter()
            .map(|service| (service.name.to_owned(), address.clone()));
        let addresses = addresses.collect();
        Self::over(
            path.join("keys"),
            addresses,
            Inner::Together(Box::new(running), folder),
        )
    }

    /// All services in one real process on SQLite, which can be killed. `program` is `suite-process`.
    pub async fn process(program: &str) -> Self {
        Self::process_with(program, &[PARTA], false, &[]).await
    }

    /// [`Suite::process`] of any program that serves all services by these words, on PostgreSQL if so wanted, with settings
    /// of the caller's own.
    pub async fn process_with(
        program: &str,
        words: &[&str],
        postgres: bool,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut processes = Self::processes(program);
        processes.composed = words.iter().map(|word| (*word).to_owned()).collect();
        for (key, value) in settings {
            processes.set(key, value);
        }
        if postgres {
            for service in &parta::SERVICES {
                let database = TestDatabase::postgres().await;
                let key = format!("{}.database_url", service.section());
                processes.set(&key, database.url());
                processes._databases.push(database);
            }
        }
        let listen = format!("{}:{}", Ipv4Addr::LOCALHOST, free_ports(1)[0]);
        processes.set("server.listen", &listen);
        processes.serve(PARTA).serving().await;
        let address =
            |service: &parta_runtime::Service| (service.name.to_owned(), format!("http://{listen}"));
        let addresses = parta::SERVICES.iter().map(address).collect();
        let keys = processes._folder.path().join("keys");
        Self::over(keys, addresses, Inner::Processes(processes))
    }

    /// Five processes, each with a PostgreSQL database of its own, joined by NATS. `program` is `suite-process`.
    pub async fn split(program: &str) -> Self {
        let mut processes = Self::processes(program);
        let keys = processes._folder.path().join("keys");
        parta_runtime::make_keys(&parta::SERVICES, &keys, &Ambient::system()).expect("keys");
        processes.set("bus.url", &parta_testkit::nats_url());
        let mut addresses = BTreeMap::new();
        let ports = free_ports(parta::SERVICES.len());
        for (service, port) in parta::SERVICES.iter().zip(ports) {
            let (section, database) = (service.section(), TestDatabase::postgres().await);
            let listen = format!("{}:{port}", Ipv4Addr::LOCALHOST);
            processes.set(&format!("{section}.database_url"), database.url());
            processes.set(&format!("{section}.database_max_connections"), "6");
            processes.set(&format!("{section}.listen"), &listen);
            processes.set(&format!("{section}.address"), &format!("http://{listen}"));
            addresses.insert(service.name.to_owned(), format!("http://{listen}"));
            processes._databases.push(database);
        }
        let migrations: Vec<_> = parta::SERVICES
            .iter()
            .map(|service| processes.start(&[service.name, "migrate"]))
            .collect();
        for migration in migrations {
            migration.finished().await;
        }
        for service in &parta::SERVICES {
            processes.serve(service.name);
        }
        for process in processes.running.values_mut() {
            process.serving().await;
        }
        Self::over(keys, addresses, Inner::Processes(processes))
    }

    fn processes(program: &str) -> Processes {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().to_owned();
        let mut processes = Processes {
            running: BTreeMap::new(),
            program: program.to_owned(),
            composed: vec![PARTA.to_owned()],
            settings: Vec::new(),
            _databases: Vec::new(),
            _folder: folder,
        };
        processes.set("data.folder", &path.display().to_string());
        processes.set("keys.folder", &path.join("keys").display().to_string());
        processes.set("server.grace_seconds", "5");
        for (key, value) in LIVEKIT {
            processes.set(key, value);
        }
        processes
    }

    /// Ends the process that runs a service, as a power cut would.
    pub async fn kill(&self, service: &'static str) {
        if let Some(Inner::Processes(processes)) = self.inner.lock().await.as_mut() {
            let name = processes.of(service);
            let process = processes.running.remove(name).expect("it runs");
            process.kill().await;
        }
    }

    /// Starts the process of a service that was killed.
    pub async fn restart(&self, service: &'static str) {
        if let Some(Inner::Processes(processes)) = self.inner.lock().await.as_mut() {
            let name = processes.of(service);
            processes.serve(name).serving().await;
        }
    }

    fn over(keys: PathBuf, addresses: BTreeMap<String, String>, inner: Inner) -> Self {
        let client = Client::new(channels(&ClientBuilder::new(Ambient::system()), &addresses));
        let key = std::fs::read_to_string(keys.join("operator.key")).expect("the operator's key");
        Self {
            operator: client.with(key.trim()),
            client,
            keys,
            addresses: Arc::new(addresses),
            inner: Arc::new(Mutex::new(Some(inner))),
        }
    }

    /// The ids of its processes by what they run; none where it runs in this one.
    pub async fn process_ids(&self) -> BTreeMap<&'static str, u32> {
        match self.inner.lock().await.as_ref() {
            Some(Inner::Processes(processes)) => {
                let id = |(name, process): (&&'static str, &Process)| Some((*name, process.id()?));
                processes.running.iter().filter_map(id).collect()
            }
            _ => BTreeMap::new(),
        }
    }

    /// Where the databases of a suite of processes on PostgreSQL are, in the order of the services; empty on SQLite.
    pub async fn database_urls(&self) -> Vec<String> {
        match self.inner.lock().await.as_ref() {
            Some(Inner::Processes(processes)) => {
                processes._databases.iter().map(|d| d.url().to_owned()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A client without a credential.
    pub fn anonymous(&self) -> &Client {
        &self.client
    }

    /// The operator.
    pub fn operator(&self) -> &Client {
        &self.operator
    }

    /// A service of the suite, by its own key.
    pub fn service(&self, name: &str) -> Client {
        let pem = std::fs::read_to_string(self.keys.join(format!("{name}.pem"))).expect("the service's key");
        let pair = KeyPair::from_pem(&pem).expect("a key pair");
        let ambient = Ambient::system();
        let identity = ServiceIdentity::new(name, &pair, ambient.clone()).expect("an identity");
        let builder = ClientBuilder::new(ambient).identity(Arc::new(identity));
        Client::new(channels(&builder, &self.addresses))
    }

    /// The folder of all keys.
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// Where each service is, `http://host:port`; the same for all when they share a process.
    pub fn addresses(&self) -> &BTreeMap<String, String> {
        &self.addresses
    }

    /// Ends everything in order. In a suite of processes each has to have logged no WARN or ERROR.
    pub async fn stop(&self) {
        match self.inner.lock().await.take() {
            Some(Inner::Together(running, _folder)) => running.stop().await,
            Some(Inner::Processes(mut processes)) => {
                let running = std::mem::take(&mut processes.running);
                let complaints: Vec<Value> = running.values().flat_map(Process::complaints).collect();
                for process in running.into_values() {
                    process.stop().await;
                }
                assert!(complaints.is_empty(), "{complaints:#?}");
            }
            None => {}
        }
    }
}

/// Channels to services by their addresses.
fn channels(
    builder: &ClientBuilder,
    addresses: &BTreeMap<String, String>,
) -> BTreeMap<String, ServiceChannel> {
    let channel = |(name, address): (&String, &String)| {
        let channel = builder.channel(name, Target::Uri(address.clone()));
        (name.clone(), channel.expect("a channel"))
    };
    addresses.iter().map(channel).collect()
}

/// Ports that nobody listens on, below those that the system gives to outgoing connections.
fn free_ports(count: usize) -> Vec<u16> {
    let spread = std::process::id() as u16 % 1_000 * 16;
    let ports = (0..16_000_u16).map(|n| 12_000 + (spread + n) % 16_000);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.filter(free).take(count).collect()
}

/// Waits until something that happens in the background is there, bounded.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found)
        .await
        .unwrap_or_else(|_| panic!("it did not come about: {what}"))
}
