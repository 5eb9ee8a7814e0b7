//! Starts services in order: keys, databases, parts, servers, background work.
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{FutureExt as _, Stream, StreamExt as _};
use parta_access::{AccessRules, Secrets, Verifier};
use parta_database::{DatabaseConfig, DatabaseLock, Db, StorageError};
use parta_feed::Bus;
use parta_grpc::{
    Authenticator, ClientBuilder, InMemoryTransport, Limits, Methods, Routes, ServerLayers, ServiceClients,
    Target, in_memory, layers,
    server::{Accepted, Admitted, ConnectionLimits, Connections, ServeOptions, TrustedProxies, serve},
};
use parta_ids::Env;
use parta_proto::descriptors;
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::{
    Service, ServiceContext, Settings, Task, accept, data_folder,
    health::{Checked, Health},
    jwks,
    keys::{self, Keys},
    revocations,
    running::{Running, TaskGroup},
    serving_lock, supervise,
    tls::{ServerTls, Tls},
};

/// Whether this process runs all services and creates what they need at the first start, or one service of a
/// cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Embedded,
    Standalone,
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
        let tls = Tls::read(&settings.server, env)?;
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
        let anonymous = tls.client(ClientBuilder::new(
            env.clone(),
            &[&parta_proto_membership::PACKAGE],
        ));
        let verifier = Arc::new(jwks::verifier(&anonymous, &targets, &settings.keys.issuer, env)?);

        let revocations = self.revocations(&keys, &tls, &targets, &verifier)?;
        // Before the databases, which may have to be waited for: a missing file is an error at once.
        let service_keys = keys.service_keys(targets.iter().map(|(name, _)| name.as_str()), env)?;
        let operators = keys.operators()?;
        let (mut dbs, mut parts, mut locks) = (Vec::new(), Vec::new(), Vec::new());
        let replaced = CancellationToken::new();
        for service in services {
            let identity = Arc::new(keys.identity(service.name, env)?);
            let signing_keys = keys.signing_keys(service.name)?;
            let (db, lock) = self
                .open(service, &keys)
                .await
                .with_context(|| format!("database of {}", service.name))?;
            dbs.push(db.clone());
            locks.extend(lock.map(|lock| serving_lock::task(service, &db, lock, &replaced)));
            let client = ClientBuilder::new(env.clone(), service.calls).identity(identity.clone());
            let client = tls.client(client);
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
                signing_keys,
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
            built.check(service)?;
            parts.push(built);
        }

        let packages: Vec<_> = services.iter().map(|service| service.package).collect();
        let names: Vec<_> = services.iter().flat_map(|s| s.grpc_services).copied().collect();
        let authenticator = Arc::new(Authenticator {
            access: AccessRules::load(&descriptors::pool(&packages)?, &names)?,
            verifier: verifier.clone(),
            services: Arc::new(service_keys),
            operators,
            proxies: TrustedProxies::parse(&settings.server.trusted_proxies).map_err(anyhow::Error::msg)?,
        });
        let limits = Limits {
            calls: settings.server.max_calls,
            streams: settings.server.max_streams,
            receive: Duration::from_secs(settings.server.receive_seconds),
        };
        let methods = Methods::of(&packages);
        let stack = || {
            layers(
                env,
                methods.clone(),
                authenticator.clone(),
                limits,
                draining.clone(),
            )
        };

        let health = Health::new(&names).await;
        let mut open = health.routes(&packages)?;
        let (outer, inner) = (TaskGroup::default(), TaskGroup::default());
        for (part, connections) in parts.iter().zip(incoming) {
            open = open.merge(&part.routes);
            inner.serve_memory(connections, part.routes.clone(), stack());
        }
        let listener = accept::bind(listen).with_context(|| format!("listening on {listen}"))?;
        let address = listener.local_addr()?;
        let options = ServeOptions {
            max_connection_age: (mode == Mode::Standalone).then(|| connection_age(env)),
            max_streams_per_connection: Some(settings.server.max_streams_per_connection),
            stall: Some(Duration::from_secs(settings.server.stall_seconds)),
        };
        let connection_limits = ConnectionLimits {
            total: settings.server.max_connections,
            per_client: settings.server.max_connections_per_client,
            request_bytes: settings.server.max_request_bytes,
            ..ConnectionLimits::default()
        };
        let connections = Connections::new(connection_limits);
        for task in tls.keep_current(&tasks.cancel) {
            tasks.tracker.spawn(task);
        }
        let listener = TcpIncoming::from(listener).with_nodelay(Some(true));
        let public = accept::admitted(accept::connections(listener), connections);
        outer.serve_public(public, open, stack(), tls.server, options);
        let mut health_address = None;
        if let Some(listen) = settings.server.health_listen {
            let listener = accept::bind(listen).with_context(|| format!("listening on {listen}"))?;
            health_address = Some(listener.local_addr()?);
            let listener = TcpIncoming::from(listener).with_nodelay(Some(true));
            // The limits are those of the first port, counted apart, so that its clients take no probe away.
            let connections = Connections::new(connection_limits);
            let probes = accept::admitted(accept::connections(listener), connections);
            outer.serve_public(probes, health.checks(), stack(), None, options);
        }

        let checked = services.iter().zip(&parts).zip(&dbs);
        let checked = checked.map(|((service, part), db)| Checked {
            service: service.name,
            names: part.services.clone(),
            db: db.clone(),
            migrations: service.migrations,
            projections: part
                .consumers
                .iter()
                .filter_map(|task| task.projection.clone())
                .collect(),
        });
        let checked = checked.collect();
        for part in parts {
            supervise::start(part.consumers, &consumers.cancel, &consumers.tracker);
            supervise::start(part.tasks, &tasks.cancel, &tasks.tracker);
        }
        supervise::start(revocations, &tasks.cancel, &tasks.tracker);
        supervise::start(locks, &inner.cancel, &inner.tracker);
        health
            .watch(checked, verifier, &tasks.cancel, &tasks.tracker)
            .await;
        tracing::info!(%address, services = services.len(), together = mode == Mode::Embedded, "serving");
        let operator_key_file = keys.operator_key_file();
        let server = settings.server.clone();
        Ok(Running {
            address,
            health_address,
            operator_key_file,
            server,
            health,
            draining,
            outer,
            inner,
            consumers,
            tasks,
            dbs,
            replaced,
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
            Mode::Embedded => {
                let sections: Vec<_> = self
                    .services
                    .iter()
                    .filter(|service| self.has_own_file(service))
                    .map(Service::section)
                    .collect();
                data_folder::check(data, &sections, &keys::suite_secret(&folder))?;
                Keys::open_or_make(&folder, self.services, &self.env)
            }
            Mode::Standalone => Keys::open(&folder),
        }
    }

    /// Whether the database of the service is a file of the data folder.
    fn has_own_file(&self, service: &Service) -> bool {
        let section = self.settings.services.get(&service.section());
        self.mode == Mode::Embedded && section.is_none_or(|section| section.database.url.is_none())
    }

    fn listen_address(&self) -> anyhow::Result<SocketAddr> {
        match (self.mode, self.services) {
            (Mode::Standalone, [service]) => {
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

    /// The task that polls revocations, with the identity of a service of this process: membership admits
    /// all. A process without an address of membership can verify no token, so that it has no such task.
    fn revocations(
        &self,
        keys: &Keys,
        tls: &Tls,
        targets: &[(String, Target)],
        verifier: &Arc<Verifier>,
    ) -> anyhow::Result<Vec<Task>> {
        let membership = targets.iter().find(|(name, _)| name == "membership");
        let (Some((name, target)), Some(service)) = (membership, self.services.first()) else {
            return Ok(Vec::new());
        };
        let identity = Arc::new(keys.identity(service.name, &self.env)?);
        let client = ClientBuilder::new(self.env.clone(), &[&parta_proto_membership::PACKAGE]);
        let channel = tls
            .client(client.identity(identity))
            .channel(name, target.clone())?;
        Ok(vec![revocations::task(channel, verifier.clone())])
    }

    async fn bus(&self) -> anyhow::Result<Arc<dyn Bus>> {
        let names: Vec<_> = self.services.iter().map(|s| s.name).collect();
        crate::bus::open(&self.settings.bus, &names.join(",")).await
    }

    async fn open(&self, service: &Service, keys: &Keys) -> anyhow::Result<(Db, Option<DatabaseLock>)> {
        // All services share one secret, so that each can decode the consistency tokens of the others.
        let db = connect(service, self.settings, self.mode, keys.suite_secrets(), &self.env).await?;
        let mode = self.mode;
        let owned = owner_url(service, self.settings).is_some();
        if mode == Mode::Embedded && owned {
            migrate_schema(service, self.settings, mode, &self.env).await?;
        }
        let lock = wait_for(service.name, || async {
            db.check_server().await?;
            let lock = serving_lock::acquire(&db).await?;
            let migrations = (service.migrations)();
            if mode == Mode::Embedded && !owned {
                db.migrate(migrations).await?;
                return Ok(lock);
            }
            db.check_privileges().await?;
            let newer = db.check_schema(&migrations).await?.newer;
            if !newer.is_empty() {
                tracing::info!(service = service.name, ?newer, "schema of a newer version");
            }
            Ok(lock)
        })
        .await?;
        if self.has_own_file(service) {
            data_folder::note_created(&self.settings.data.folder, &service.section())?;
        }
        Ok((db, lock))
    }
}

/// The first pause before a database that cannot be reached is tried again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Repeats what needs a database until the database can be reached and accepts writes: at the start of a
/// cluster it is often the last to come. Any other failure is final.
async fn wait_for<T, F: Future<Output = Result<T, StorageError>>>(
    service: &str,
    attempt: impl Fn() -> F,
) -> Result<T, StorageError> {
    let (mut pause, mut cause) = (PAUSES.0, None);
    loop {
        let error = match attempt().await {
            Err(StorageError::Unavailable(error) | StorageError::Exhausted(error)) => error,
            other => {
                if cause.is_some() && other.is_ok() {
                    tracing::info!(service, "database available");
                }
                return other;
            }
        };
        // Each cause is logged once, however long it lasts.
        if cause.as_ref() != Some(&error) {
            tracing::warn!(service, error, "database unavailable, waiting for it");
            cause = Some(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// The address of the database by the role that owns the schema, if that is another one than the role that
/// serves.
fn owner_url<'a>(service: &Service, settings: &'a Settings) -> Option<&'a str> {
    let section = settings.services.get(&service.section())?;
    section
        .database
        .migrate_url
        .as_ref()
        .map(secrecy::ExposeSecret::expose_secret)
}

/// Migrates the schema of a service. If another role owns it, the role that serves gets its grants.
pub(crate) async fn migrate_schema(
    service: &Service,
    settings: &Settings,
    mode: Mode,
    env: &Env,
) -> anyhow::Result<()> {
    let mut config = database(service, settings, mode)?;
    let mut serving = None;
    if let Some(url) = owner_url(service, settings) {
        let (role, name) = config.role_and_database()?;
        config.url = url.to_owned();
        let (owner, owned) = config.role_and_database()?;
        anyhow::ensure!(
            name == owned,
            "{}.database_url is the database {name}, and database_migrate_url {owned}",
            service.section()
        );
        serving = (role != owner).then_some(role);
    }
    // A migration reads and writes nothing that is sealed, so that the secret is used for nothing.
    let unused = Secrets::generate(env);
    let db = Db::connect(&config, service.name, unused, env.clone()).await?;
    let migrated = wait_for(service.name, || async {
        db.check_server().await?;
        db.migrate_for((service.migrations)(), serving.as_deref()).await
    })
    .await;
    db.close().await;
    migrated.with_context(|| format!("schema of {}", service.name))
}

/// Opens the database of a service without migrating its schema.
async fn connect(
    service: &Service,
    settings: &Settings,
    mode: Mode,
    secrets: Secrets,
    env: &Env,
) -> anyhow::Result<Db> {
    let config = database(service, settings, mode)?;
    Ok(Db::connect(&config, service.name, secrets, env.clone()).await?)
}

/// The database of a service by the role that serves.
fn database(service: &Service, settings: &Settings, mode: Mode) -> anyhow::Result<DatabaseConfig> {
    let section = service.section();
    let chosen = settings
        .services
        .get(&section)
        .map(|s| s.database.clone())
        .unwrap_or_default();
    let url = match (&chosen.url, mode) {
        (Some(url), _) => url.expose_secret().to_owned(),
        (None, Mode::Embedded) => {
            data_folder::open(&settings.data.folder)?;
            sqlite_url(&data_folder::private_database(&settings.data.folder, &section)?)
        }
        (None, Mode::Standalone) => anyhow::bail!("set `{section}.database_url`"),
    };
    let mut config = DatabaseConfig::new(url);
    if let Some(connections) = chosen.max_connections {
        config.max_connections = connections;
    }
    Ok(config)
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

impl TaskGroup {
    fn serve_memory(&self, connections: in_memory::Incoming, routes: Routes, stack: ServerLayers) {
        let cancelled = self.cancel.clone().cancelled_owned();
        self.tracker.spawn(async move {
            serve(connections, routes, stack, ServeOptions::default(), cancelled).await;
        });
    }

    fn serve_public(
        &self,
        incoming: impl Stream<Item = (TcpStream, Admitted)> + Send + 'static,
        routes: Routes,
        stack: ServerLayers,
        tls: Option<ServerTls>,
        options: ServeOptions,
    ) {
        let cancelled = self.cancel.clone().cancelled_owned();
        self.tracker.spawn(async move {
            let Some(tls) = tls else {
                let plain =
                    incoming.map(|(connection, admitted)| Accepted::plain(connection, Some(admitted)));
                return serve(plain, routes, stack, options, cancelled).await;
            };
            let acceptor = tls.acceptor();
            let secured = incoming.map(move |(connection, admitted)| Accepted {
                handshake: acceptor.accept(connection).boxed(),
                admitted: Some(admitted),
            });
            serve(secured, routes, stack, options, cancelled).await;
        });
    }
}

/// Returns the age at which this replica makes its clients reconnect: 240 to 360 seconds. Without it,
/// replicas that start later would get no connections. Replicas draw different ages, so that not all clients
/// reconnect at once.
pub(crate) fn connection_age(env: &Env) -> Duration {
    let mut random = [0; 8];
    env.ids.fill(&mut random);
    Duration::from_millis(240_000 + u64::from_le_bytes(random) % 120_000)
}
