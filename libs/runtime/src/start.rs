//! Starts services in order: keys, databases, parts, servers, background work.
use std::{io, net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use parta_access::AccessRules;
use parta_database::{DatabaseConfig, Db};
use parta_feed::Bus;
use parta_grpc::{
    Authenticator, ClientBuilder, InMemoryTransport, Limits, Routes, ServerLayers, ServiceClients, Target,
    in_memory, layers,
    server::{ServeOptions, serve},
};
use parta_ids::Env;
use secrecy::ExposeSecret as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig, server::TcpIncoming};

use crate::{
    Service, ServiceContext, ServiceParts, Settings,
    config::ServerSettings,
    health::Health,
    jwks,
    keys::Keys,
    running::{Running, TaskGroup},
    supervise,
};

/// Whether this process runs all services and creates what they need at the first start, or one service of a
/// cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Together,
    Alone,
}

pub(crate) struct Start<'a> {
    pub(crate) services: &'a [Service],
    pub(crate) settings: &'a Settings,
    pub(crate) mode: Mode,
    pub(crate) env: Env,
}

impl Start<'_> {
    pub(crate) async fn run(self) -> anyhow::Result<Running> {
        let Self {
            services,
            settings,
            mode,
            ref env,
        } = self;
        let keys = self.keys()?;
        let listen = self.listen_address()?;
        let tls = Tls::read(&settings.server)?;
        let bus = self.bus().await?;
        let (draining, consumers, tasks) = (
            CancellationToken::new(),
            TaskGroup::default(),
            TaskGroup::default(),
        );

        let mut incoming = Vec::new();
        let mut targets = self.addresses();
        for service in services {
            let (pipe, connections) = InMemoryTransport::pair();
            targets.retain(|(name, _)| name != service.name);
            targets.push((service.name.to_owned(), Target::Memory(pipe)));
            incoming.push(connections);
        }
        let anonymous = tls.client(ClientBuilder::new(env.clone()));
        let verifier = Arc::new(jwks::verifier(&anonymous, &targets, &settings.keys.issuer, env)?);

        let (mut dbs, mut parts) = (Vec::new(), Vec::new());
        for service in services {
            let db = self
                .open(service, &keys)
                .await
                .with_context(|| format!("database of {}", service.name))?;
            dbs.push(db.clone());
            let identity = Arc::new(keys.identity(service.name, env)?);
            let client = tls.client(ClientBuilder::new(env.clone()).identity(identity.clone()));
            let others = targets.iter().filter(|(name, _)| name != service.name).cloned();
            let context = ServiceContext {
                service: service.name,
                env: env.clone(),
                db,
                bus: bus.clone(),
                clients: ServiceClients::connect(&client, others)?,
                verifier: verifier.clone(),
                secrets: keys.secrets(service.name),
                identity,
                tracker: tasks.tracker.clone(),
                cancel: tasks.cancel.clone(),
                draining: draining.clone(),
                signing_keys: keys.signing_keys(service.name)?,
                loopback_only: listen.ip().is_loopback(),
                issuer: settings.keys.issuer.clone(),
                section: settings
                    .services
                    .get(&service.section())
                    .map(|s| s.own.clone())
                    .unwrap_or_default(),
            };
            let built = (service.build)(context)
                .await
                .with_context(|| format!("service {}", service.name))?;
            check_parts(service, &built)?;
            parts.push(built);
        }

        let names: Vec<_> = services.iter().flat_map(|s| s.grpc_services).copied().collect();
        let authenticator = Arc::new(Authenticator {
            access: AccessRules::load(&names)?,
            verifier,
            services: Arc::new(keys.service_keys(env)?),
            operators: keys.operators()?,
        });
        let limits = Limits {
            calls: settings.server.max_calls,
            streams: settings.server.max_streams,
        };
        let stack = || layers(env, authenticator.clone(), limits, draining.clone());

        let health = Health::new(&names).await;
        let mut open = health.routes()?;
        let (outer, inner) = (TaskGroup::default(), TaskGroup::default());
        for (part, connections) in parts.iter().zip(incoming) {
            open = open.merge(&part.routes);
            inner.serve_memory(part.name, connections, part.routes.clone(), stack());
        }
        let listener = bind(listen).with_context(|| format!("listening on {listen}"))?;
        let address = listener.local_addr()?;
        outer.serve_public(listener, open, stack(), ServeOptions { tls: tls.server });

        for part in parts {
            supervise::start(part.consumers, &consumers.cancel, &consumers.tracker);
            supervise::start(part.tasks, &tasks.cancel, &tasks.tracker);
        }
        health.serving().await;
        tracing::info!(%address, services = services.len(), together = mode == Mode::Together, "serving");
        let operator_key_file = keys.operator_key_file();
        let server = settings.server.clone();
        Ok(Running {
            address,
            operator_key_file,
            server,
            health,
            draining,
            outer,
            inner,
            consumers,
            tasks,
            dbs,
        })
    }

    fn keys(&self) -> anyhow::Result<Keys> {
        let data = &self.settings.data.folder;
        let folder = self
            .settings
            .keys
            .folder
            .clone()
            .unwrap_or_else(|| data.join("keys"));
        match self.mode {
            Mode::Together => Keys::open_or_make(&folder, self.services, &self.env),
            Mode::Alone => Keys::open(&folder),
        }
    }

    fn listen_address(&self) -> anyhow::Result<SocketAddr> {
        match (self.mode, self.services) {
            (Mode::Alone, [service]) => {
                let section = service.section();
                let listen = self.settings.services.get(&section).and_then(|s| s.listen);
                listen.with_context(|| format!("set `{section}.listen`"))
            }
            _ => Ok(self.settings.server.listen),
        }
    }

    fn addresses(&self) -> Vec<(String, Target)> {
        let of = |(section, service): (&String, &crate::config::ServiceSettings)| {
            Some((section.replace('_', "-"), Target::Uri(service.address.clone()?)))
        };
        self.settings.services.iter().filter_map(of).collect()
    }

    async fn bus(&self) -> anyhow::Result<Arc<dyn Bus>> {
        let names: Vec<_> = self.services.iter().map(|s| s.name).collect();
        crate::bus::open(&self.settings.bus, &names.join(",")).await
    }

    async fn open(&self, service: &Service, keys: &Keys) -> anyhow::Result<Db> {
        let db = connect(service, self.settings, self.mode, keys, &self.env).await?;
        match self.mode {
            Mode::Together => db.migrate((service.migrations)()).await?,
            Mode::Alone => db.check_schema(&(service.migrations)()).await?,
        }
        Ok(db)
    }
}

/// Opens the database of a service without migrating its schema.
pub(crate) async fn connect(
    service: &Service,
    settings: &Settings,
    mode: Mode,
    keys: &Keys,
    env: &Env,
) -> anyhow::Result<Db> {
    let section = service.section();
    let chosen = settings
        .services
        .get(&section)
        .map(|s| s.database.clone())
        .unwrap_or_default();
    let url = match (&chosen.url, mode) {
        (Some(url), _) => url.expose_secret().to_owned(),
        (None, Mode::Together) => {
            std::fs::create_dir_all(&settings.data.folder)
                .with_context(|| format!("folder {}", settings.data.folder.display()))?;
            sqlite_url(&settings.data.folder.join(format!("{section}.db")))
        }
        (None, Mode::Alone) => anyhow::bail!("set `{section}.database_url`"),
    };
    let mut config = DatabaseConfig::new(url);
    if let Some(connections) = chosen.max_connections {
        config.max_connections = connections;
    }
    // The suite shares one secret, so that each service can decode the consistency tokens of the others.
    Ok(Db::connect(&config, service.name, keys.suite_secrets(), env.clone()).await?)
}

fn sqlite_url(file: &Path) -> String {
    // sqlx decodes percent signs and ends the path at a question mark.
    let path = file
        .display()
        .to_string()
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23");
    format!("sqlite://{path}")
}

fn check_parts(service: &Service, parts: &ServiceParts) -> anyhow::Result<()> {
    let (mut declared, mut built) = (service.grpc_services.to_vec(), parts.services.clone());
    declared.sort_unstable();
    built.sort_unstable();
    anyhow::ensure!(
        declared == built,
        "{}: declares {declared:?} but builds {built:?}",
        service.name
    );
    Ok(())
}

impl TaskGroup {
    fn serve_memory(
        &self,
        name: &'static str,
        connections: in_memory::Incoming,
        routes: Routes,
        stack: ServerLayers,
    ) {
        let cancelled = self.cancel.clone().cancelled_owned();
        self.tracker.spawn(async move {
            if let Err(error) = serve(connections, routes, stack, ServeOptions::default(), cancelled).await {
                tracing::error!(service = name, %error, "in-memory server failed");
            }
        });
    }

    fn serve_public(
        &self,
        listener: TcpListener,
        routes: Routes,
        stack: ServerLayers,
        options: ServeOptions,
    ) {
        let cancelled = self.cancel.clone().cancelled_owned();
        self.tracker.spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            if let Err(error) = serve(incoming, routes, stack, options, cancelled).await {
                tracing::error!(%error, "server failed");
            }
        });
    }
}

/// Maximum number of connections that wait to be accepted. The system may lower it (Linux: somaxconn, 4,096).
/// After a restart all clients reconnect at once, and connections beyond this limit are refused.
const BACKLOG: u32 = 16_384;

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Set as in tokio's listeners: a restart does not wait for connections in TIME_WAIT. On Windows, the
    // option would allow several listeners on one port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

struct Tls {
    server: Option<ServerTlsConfig>,
    client: Option<ClientTlsConfig>,
}

impl Tls {
    fn read(settings: &ServerSettings) -> anyhow::Result<Self> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("file {}", path.display()));
        let server = match (&settings.tls_certificate_file, &settings.tls_key_file) {
            (Some(certificate), Some(key)) => {
                let identity = Identity::from_pem(read(certificate)?, read(key)?);
                Some(ServerTlsConfig::new().identity(identity))
            }
            _ => None,
        };
        let client = match &settings.tls_authority_file {
            Some(authority) => {
                let authority = Certificate::from_pem(read(authority)?);
                Some(ClientTlsConfig::new().ca_certificate(authority))
            }
            None => None,
        };
        Ok(Self { server, client })
    }

    fn client(&self, builder: ClientBuilder) -> ClientBuilder {
        match &self.client {
            Some(tls) => builder.tls(tls.clone()),
            None => builder,
        }
    }
}
