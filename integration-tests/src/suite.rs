mod processes;
mod settings;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use parta_access::{KeyPair, ServiceIdentity};
use parta_grpc::{ClientBuilder, ServiceChannel, Target};
use parta_ids::Env;
use parta_proto_all::PACKAGES;
use parta_runtime::{Running, Sources};
use parta_testkit::{Link, MediaServer, SmsGateway, StatementCounter};
use serde_json::Value;
use tokio::sync::Mutex;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::{Client, Postgres, Process, process::REFUSALS};
use processes::{PARTA, Processes};
use settings::{ONE_NETWORK, livekit};

/// Names of the chat replicas in a suite of [`Suite::replicated`], for channels, [`Suite::kill`] and
/// [`Suite::restart`].
pub const REPLICAS: [&str; 3] = ["chat", "chat-2", "chat-3"];

/// The second processes of membership and chat in [`Suite::doubled`], each with its service.
const SECOND: [(&str, &str); 2] = [("membership-2", "membership"), ("chat-2", "chat")];

/// A split suite with [`REPLICAS`] of chat, and with connections that a test can interrupt.
pub struct Replicated {
    pub suite: Suite,
    /// The connection of every process to NATS.
    pub bus: Link,
    /// The database of chat.
    pub database: Postgres,
    /// The connection of the processes of chat to their database.
    pub database_link: Link,
}

/// The whole suite, running. Cheap to clone. [`Suite::stop`] stops it in order.
#[derive(Clone)]
pub struct Suite {
    client: Client,
    operator: Client,
    keys: PathBuf,
    builder: ClientBuilder,
    addresses: Arc<BTreeMap<String, String>>,
    sms: Option<Arc<SmsGateway>>,
    media: Option<Arc<MediaServer>>,
    inner: Arc<Mutex<Option<Inner>>>,
}

enum Inner {
    Embedded(Box<Running>, Arc<tempfile::TempDir>),
    Processes(Processes),
    External,
}

impl Suite {
    /// Starts five services in this process, on five SQLite files in a temporary folder.
    pub async fn one_process() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::one_process_in(Arc::new(folder), &[]).await
    }

    /// [`Suite::one_process`] in the test's own folder, with the given `key=value` settings.
    pub async fn one_process_in(folder: Arc<tempfile::TempDir>, settings: &[&str]) -> Self {
        let path = folder.path().to_owned();
        let set = [
            format!("data.folder={}", path.display()),
            "server.listen=127.0.0.1:0".to_owned(),
            "server.grace_seconds=5".to_owned(),
        ];
        let codes = ONE_NETWORK.iter().map(|(key, value)| format!("{key}={value}"));
        let own = settings.iter().map(|s| (*s).to_owned());
        let media = Arc::new(MediaServer::start().await);
        let livekit = livekit(&media);
        let livekit = livekit.iter().map(|(key, value)| format!("{key}={value}"));
        let (settings, _) = Sources::set(set.into_iter().chain(livekit).chain(codes).chain(own))
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
            &ClientBuilder::new(Env::system(), PACKAGES),
            path.join("keys"),
            addresses,
            Some(media),
            Inner::Embedded(Box::new(running), folder),
        )
    }

    /// Starts all services in one real process on SQLite, which can be killed. `program` is `suite-process`.
    pub async fn process(program: &str) -> Self {
        Self::process_with(program, &["serve"], false, &[]).await
    }

    /// [`Suite::process`] for any program that serves all services with these arguments, on PostgreSQL if
    /// requested, with additional settings.
    pub async fn process_with(
        program: &str,
        words: &[&str],
        postgres: bool,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::process_at(program, words, postgres, settings, None).await
    }

    /// [`Suite::process_with`] on all addresses of the machine and with TLS. The settings name a certificate
    /// for `localhost`, and clients trust this authority only, given as PEM.
    pub async fn process_over_tls(
        program: &str,
        words: &[&str],
        postgres: bool,
        settings: &[(&str, &str)],
        authority: &str,
    ) -> Self {
        Self::process_at(program, words, postgres, settings, Some(authority)).await
    }

    async fn process_at(
        program: &str,
        words: &[&str],
        postgres: bool,
        settings: &[(&str, &str)],
        authority: Option<&str>,
    ) -> Self {
        let media = Arc::new(MediaServer::start().await);
        let mut processes = Self::processes(program, &media);
        processes.composed = words.iter().map(|word| (*word).to_owned()).collect();
        for (key, value) in settings {
            processes.set(key, value);
        }
        if postgres {
            for service in &parta::SERVICES {
                let url = processes.new_database().await;
                processes.set(&format!("{}.database_url", service.section()), &url);
            }
        }
        let port = free_ports(1)[0];
        let (builder, ip, url) = match authority {
            Some(pem) => (
                trusting(pem),
                Ipv4Addr::UNSPECIFIED,
                format!("https://localhost:{port}"),
            ),
            None => (
                ClientBuilder::new(Env::system(), PACKAGES),
                Ipv4Addr::LOCALHOST,
                format!("http://{}:{port}", Ipv4Addr::LOCALHOST),
            ),
        };
        processes.set("server.listen", &format!("{ip}:{port}"));
        processes.serve(PARTA).serving().await;
        let address = |service: &parta_runtime::Service| (service.name.to_owned(), url.clone());
        let addresses = parta::SERVICES.iter().map(address).collect();
        let keys = processes._folder.path().join("keys");
        Self::over(
            &builder,
            keys,
            addresses,
            Some(media),
            Inner::Processes(processes),
        )
    }

    /// Starts five processes, each with its own PostgreSQL database, connected by NATS. One role owns each
    /// schema, and another one serves. `program` is `suite-process`.
    pub async fn split(program: &str) -> Self {
        Self::split_over(program, &parta_testkit::nats_url(), None, &[], None).await
    }

    /// [`Suite::split`] with a second process of membership and of chat, `membership-2` and `chat-2`. The
    /// other services call the first ones.
    pub async fn doubled(program: &str) -> Self {
        Self::split_over(program, &parta_testkit::nats_url(), None, &SECOND, None).await
    }

    /// [`Suite::doubled`], whose statements are counted for each process by its name.
    pub async fn counted(program: &str) -> (Self, BTreeMap<&'static str, StatementCounter>) {
        let (nats, mut counters) = (parta_testkit::nats_url(), BTreeMap::new());
        let suite = Self::split_over(program, &nats, None, &SECOND, Some(&mut counters)).await;
        (suite, counters)
    }

    /// [`Suite::split`] with three processes of chat, whose database and bus the test can interrupt.
    pub async fn replicated(program: &str) -> Replicated {
        let nats = parta_testkit::nats_url();
        let (database, bus) = (Postgres::start().await, Link::to(&nats).await);
        let database_link = Link::to(database.url()).await;
        let url = database_link.through(database.url());
        Replicated {
            suite: {
                let more = [(REPLICAS[1], "chat"), (REPLICAS[2], "chat")];
                Self::split_over(program, &bus.through(&nats), Some(&url), &more, None).await
            },
            bus,
            database,
            database_link,
        }
    }

    /// Starts separate processes: one for each service, and these replicas with their services. Each connects
    /// to its database through a counter of its own, if they are wanted.
    async fn split_over(
        program: &str,
        bus: &str,
        chat_database: Option<&str>,
        replicas: &[(&'static str, &'static str)],
        mut counters: Option<&mut BTreeMap<&'static str, StatementCounter>>,
    ) -> Self {
        let media = Arc::new(MediaServer::start().await);
        let mut processes = Self::processes(program, &media);
        processes.is_split = true;
        let keys = processes._folder.path().join("keys");
        parta_runtime::make_keys(&parta::SERVICES, &keys, &Env::system()).expect("keys");
        processes.set("bus.url", bus);
        let mut addresses = BTreeMap::new();
        let ports = free_ports(parta::SERVICES.len());
        for (service, port) in parta::SERVICES.iter().zip(ports) {
            let section = service.section();
            let listen = format!("{}:{port}", Ipv4Addr::LOCALHOST);
            let database_url = match chat_database {
                Some(url) if service.name == "chat" => url.to_owned(),
                _ => processes.new_database_with_roles(&section).await,
            };
            if let Some(counters) = &mut counters {
                let names = replicas.iter().filter(|(_, of)| *of == service.name);
                for name in names.map(|(name, _)| *name).chain([service.name]) {
                    counters.insert(name, StatementCounter::to(&database_url).await);
                }
            }
            let counted = counters.as_ref().and_then(|all| all.get(service.name));
            let database_url = counted.map_or(database_url.as_str(), StatementCounter::url);
            processes.set(&format!("{section}.database_url"), database_url);
            processes.set(&format!("{section}.database_max_connections"), "6");
            processes.set(&format!("{section}.listen"), &listen);
            processes.set(&format!("{section}.address"), &format!("http://{listen}"));
            addresses.insert(service.name.to_owned(), format!("http://{listen}"));
        }
        let ports = free_ports_from(parta::SERVICES.len(), replicas.len());
        for ((name, service), port) in replicas.iter().zip(ports) {
            let listen = format!("{}:{port}", Ipv4Addr::LOCALHOST);
            addresses.insert((*name).to_owned(), format!("http://{listen}"));
            let mut own = vec![(format!("{service}.listen"), listen.as_str())];
            if let Some(counter) = counters.as_ref().and_then(|all| all.get(name)) {
                own.push((format!("{service}.database_url"), counter.url()));
            }
            processes.replica(name, service, &own);
        }
        let migrations: Vec<_> = parta::SERVICES
            .iter()
            .map(|service| processes.start(&["migrate", service.name]))
            .collect();
        for migration in migrations {
            migration.finished().await;
        }
        for name in processes.names() {
            processes.serve(name);
        }
        for process in processes.running.values_mut() {
            process.serving().await;
        }
        let builder = ClientBuilder::new(Env::system(), PACKAGES);
        Self::over(
            &builder,
            keys,
            addresses,
            Some(media),
            Inner::Processes(processes),
        )
    }

    fn processes(program: &str, media: &MediaServer) -> Processes {
        let mut processes = Processes::new(program);
        let path = processes._folder.path().to_owned();
        processes.set("data.folder", &path.display().to_string());
        processes.set("keys.folder", &path.join("keys").display().to_string());
        processes.set("server.grace_seconds", "5");
        processes.set(
            "log.filter",
            &format!("info,sqlx=warn,sea_orm=warn,h2=warn,hyper=warn,{REFUSALS}=debug"),
        );
        for (key, value) in ONE_NETWORK {
            processes.set(key, value);
        }
        for (key, value) in livekit(media) {
            processes.set(key, &value);
        }
        processes
    }

    /// Allows log lines at WARN or ERROR that contain one of these texts. They do not fail [`Suite::stop`].
    pub async fn expect_complaints(&self, texts: &[&str]) {
        if let Some(Inner::Processes(processes)) = self.inner.lock().await.as_mut() {
            let texts = texts.iter().map(|text| (*text).to_owned());
            processes.expected.extend(texts);
        }
    }

    /// Kills the process of a service, or a replica by its name, without a shutdown.
    pub async fn kill(&self, service: &'static str) {
        if let Some(Inner::Processes(processes)) = self.inner.lock().await.as_mut() {
            let name = processes.of(service);
            let process = processes.running.remove(name).expect("it runs");
            process.kill().await;
        }
    }

    /// Starts the process of a service, or a replica, after it was killed.
    pub async fn restart(&self, service: &'static str) {
        if let Some(Inner::Processes(processes)) = self.inner.lock().await.as_mut() {
            let name = processes.of(service);
            processes.serve(name).serving().await;
        }
    }

    /// Runs a command of the program with the settings of the processes. Fails unless it succeeds.
    pub async fn run(&self, words: &[&str]) {
        if let Some(Inner::Processes(processes)) = self.inner.lock().await.as_ref() {
            processes.command(words).finished().await;
        }
    }

    fn over(
        builder: &ClientBuilder,
        keys: PathBuf,
        addresses: BTreeMap<String, String>,
        media: Option<Arc<MediaServer>>,
        inner: Inner,
    ) -> Self {
        let client = Client::new(channels(builder, &addresses));
        let builder = builder.clone();
        let key = std::fs::read_to_string(keys.join("operator.key")).expect("the operator's key");
        Self {
            operator: client.with(key.trim()),
            client,
            keys,
            builder,
            addresses: Arc::new(addresses),
            sms: None,
            media,
            inner: Arc::new(Mutex::new(Some(inner))),
        }
    }

    /// Returns a suite that runs elsewhere and sends its codes to this gateway. Clients trust this authority
    /// only, given as PEM. `keys` has the operator's key. [`Suite::stop`] leaves it running.
    pub fn elsewhere(
        addresses: BTreeMap<String, String>,
        authority: &str,
        keys: PathBuf,
        sms: Arc<SmsGateway>,
    ) -> Self {
        Self {
            sms: Some(sms),
            ..Self::over(&trusting(authority), keys, addresses, None, Inner::External)
        }
    }

    /// Returns the gateway that receives the codes, if the suite has no outbox.
    pub(crate) fn sms_gateway(&self) -> Option<&SmsGateway> {
        self.sms.as_deref()
    }

    /// Returns the media server of a suite that does not run elsewhere.
    pub fn media(&self) -> &MediaServer {
        self.media.as_deref().expect("a media server")
    }

    /// Returns a client without a credential, over connections that nobody else uses.
    pub fn connect(&self) -> Client {
        Client::new(channels(&self.builder, &self.addresses))
    }

    /// Returns the same suite with clients that share consistency tokens with nobody so far.
    #[must_use]
    pub fn on_its_own(&self) -> Self {
        Self {
            client: self.client.on_its_own(),
            operator: self.operator.on_its_own(),
            ..self.clone()
        }
    }

    /// Returns process ids by service, and by name for replicas. Empty if the suite runs in this process.
    pub async fn process_ids(&self) -> BTreeMap<&'static str, u32> {
        match self.inner.lock().await.as_ref() {
            Some(Inner::Processes(processes)) => {
                let id = |(name, process): (&&'static str, &Process)| Some((*name, process.id()?));
                processes.running.iter().filter_map(id).collect()
            }
            _ => BTreeMap::new(),
        }
    }

    /// Returns the database URLs of a suite on PostgreSQL, in the order of the services. Empty on SQLite.
    pub async fn database_urls(&self) -> Vec<String> {
        match self.inner.lock().await.as_ref() {
            Some(Inner::Processes(processes)) => {
                processes._databases.iter().map(|d| d.url().to_owned()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the log of all processes so far.
    pub async fn log(&self) -> Vec<Value> {
        match self.inner.lock().await.as_ref() {
            Some(Inner::Processes(processes)) => processes.running.values().flat_map(Process::log).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns a client without a credential.
    pub fn anonymous(&self) -> &Client {
        &self.client
    }

    pub fn operator(&self) -> &Client {
        &self.operator
    }

    pub fn service(&self, name: &str) -> Client {
        let pem = std::fs::read_to_string(self.keys.join(format!("{name}.pem"))).expect("the service's key");
        let pair = KeyPair::from_pem(&pem).expect("a key pair");
        let env = Env::system();
        let identity = ServiceIdentity::new(name, &pair, env.clone()).expect("an identity");
        let builder = ClientBuilder::new(env, PACKAGES).identity(Arc::new(identity));
        Client::new(channels(&builder, &self.addresses))
    }

    /// Returns the folder of all keys.
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// Returns the address of each service, `http://host:port`. Services in one process share an address.
    pub fn addresses(&self) -> &BTreeMap<String, String> {
        &self.addresses
    }

    /// Stops everything in order. Fails if a process logged an unexpected WARN or ERROR.
    pub async fn stop(&self) {
        match self.inner.lock().await.take() {
            Some(Inner::Embedded(running, _folder)) => running.stop().await,
            Some(Inner::Processes(mut processes)) => {
                let running = std::mem::take(&mut processes.running);
                let complaints = running.values().flat_map(Process::complaints);
                let complaints: Vec<Value> = complaints.filter(|c| !processes.expects(c)).collect();
                for process in running.into_values() {
                    process.stop().await;
                }
                assert!(complaints.is_empty(), "{complaints:#?}");
            }
            Some(Inner::External) | None => {}
        }
    }
}

/// Returns a builder of clients that trust this authority only, given as PEM.
fn trusting(authority: &str) -> ClientBuilder {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    ClientBuilder::new(Env::system(), PACKAGES).tls(Arc::new(move || tls.clone()))
}

/// Creates channels to services by their addresses.
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

/// Returns unused ports below the range that the system assigns to outgoing connections.
fn free_ports(count: usize) -> Vec<u16> {
    free_ports_from(0, count)
}

/// [`free_ports`] without the first `skip` ports, which are already assigned but may not be in use yet.
pub(crate) fn free_ports_from(skip: usize, count: usize) -> Vec<u16> {
    let spread = std::process::id() as u16 % 1_000 * 16;
    let ports = (0..16_000_u16).map(|n| 12_000 + (spread + n) % 16_000);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.filter(free).skip(skip).take(count).collect()
}
