//! The interface between a service and the runtime.
use std::{borrow::Cow, fmt::Display, future::Future, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parta_access::{Secrets, ServiceIdentity, SigningKey, Verifier};
use parta_database::Db;
use parta_feed::{Bus, Consumer, Freshness, Handler, Source};
use parta_grpc::{Routes, ServiceClients};
use parta_ids::Env;
use parta_proto::Package;
use sea_orm_migration::MigrationTrait;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Section, ServiceConfig},
    periodic,
};

/// The definition of a service of Parta. A service crate exports one value of it:
///
/// ```ignore
/// pub const SERVICE: Service = Service {
///     name: "org-registry",
///     package: &parta_proto_org_registry::PACKAGE,
///     calls: &[&parta_proto_membership::PACKAGE],
///     grpc_services: &["parta.org_registry.v1.OrganizationService"],
///     config: parta_runtime::config::check::<Config>,
///     build: |context| Box::pin(build(context)),
///     migrations,
/// };
///
/// async fn build(context: ServiceContext) -> anyhow::Result<ServiceParts> {
///     let config: Config = context.config()?;
///     ...
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Service {
    /// The kebab-case name: `org-registry`, `membership`, `invitation`, `chat`, `call-scheduling`.
    pub name: &'static str,
    /// The proto package of its API.
    pub package: &'static Package,
    /// The packages of the other services that it calls. A call to another package fails.
    pub calls: &'static [&'static Package],
    /// The full names of all gRPC services in its routes. If one of their RPCs has no access rule, the start
    /// fails.
    pub grpc_services: &'static [&'static str],
    /// Validates its configuration section before anything is opened:
    /// `parta_runtime::config::check::<Config>`.
    pub config: fn(&Section) -> Vec<String>,
    /// Builds the service on a migrated database. Must not call other services, which may start later.
    pub build: fn(ServiceContext) -> BoxFuture<'static, anyhow::Result<ServiceParts>>,
    /// Returns all migrations in order: [`migrations`] with its own.
    pub migrations: fn() -> Vec<Box<dyn MigrationTrait>>,
}

impl Service {
    /// Returns the name of its configuration section and proto package: `org_registry`.
    pub fn section(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// Returns all migrations of the database of a service, in order: those of the libraries, which every service
/// uses, and its `own`.
pub fn migrations(own: Vec<Box<dyn MigrationTrait>>) -> Vec<Box<dyn MigrationTrait>> {
    let mut all = parta_database::migrations();
    all.extend(parta_mutations::migrations());
    all.extend(parta_jobs::migrations());
    all.extend(parta_audit::migrations());
    all.extend(parta_limits::migrations());
    all.extend(parta_feed::migrations());
    all.extend(parta_roster::migrations());
    all.extend(own);
    all
}

/// The parts of a built service.
pub struct ServiceParts {
    /// Its name, as in [`Service::name`].
    pub name: &'static str,
    /// Its generated servers: `Routes::new(server).add_service(..)`.
    pub routes: Routes,
    /// The full names of the services in `routes`, each of which has its own health status.
    pub services: Vec<&'static str>,
    /// The consumers of feeds. They stop before the other tasks.
    pub consumers: Vec<Task>,
    /// All other tasks: job runners, sealing, recovery, pruning.
    pub tasks: Vec<Task>,
}

impl ServiceParts {
    /// Checks that exactly the gRPC services that the service declares are built.
    pub(crate) fn check(&self, service: &Service) -> anyhow::Result<()> {
        let (mut declared, mut built) = (service.grpc_services.to_vec(), self.services.clone());
        declared.sort_unstable();
        built.sort_unstable();
        anyhow::ensure!(
            declared == built,
            "{}: declares {declared:?} but builds {built:?}",
            service.name
        );
        Ok(())
    }
}

/// A named background task that runs until its token is canceled. If it ends earlier, with or without an
/// error, the runtime logs a fault and restarts the task after an increasing delay.
#[derive(Clone)]
pub struct Task {
    pub(crate) name: Cow<'static, str>,
    /// The projection that the task keeps, if it consumes a feed.
    pub(crate) projection: Option<Freshness>,
    start: Arc<dyn Fn(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>,
}

impl Task {
    /// Creates a task from a function that starts it.
    pub fn new<F, Fut>(name: impl Into<Cow<'static, str>>, start: F) -> Self
    where
        F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self {
            name: name.into(),
            projection: None,
            start: Arc::new(move |cancel| Box::pin(start(cancel))),
        }
    }

    /// Creates a task over a value, which is cloned for every start.
    pub fn over<T, F, Fut>(name: impl Into<Cow<'static, str>>, value: T, start: F) -> Self
    where
        T: Clone + Send + Sync + 'static,
        F: Fn(T, CancellationToken) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self::new(name, move |cancel| start(value.clone(), cancel))
    }

    /// Creates a task that runs `work` over a value at once, and again after every `interval`. A failed run
    /// is logged and repeated after the interval. `work` ends early if its token is canceled.
    pub fn periodic<T, F, Fut, E>(
        name: impl Into<Cow<'static, str>>,
        interval: Duration,
        value: T,
        work: F,
    ) -> Self
    where
        T: Clone + Send + Sync + 'static,
        F: Fn(T, CancellationToken) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        Self::over(name, (value, work), move |(value, work), cancel| async move {
            periodic::run(interval, &cancel, || work(value.clone(), cancel.clone())).await;
            Ok(())
        })
    }

    /// Creates the task of a consumer of a feed.
    pub fn consumer<S, H>(name: &'static str, consumer: Consumer<S, H>) -> Self
    where
        S: Source + 'static,
        H: Handler<Event = S::Event> + 'static,
    {
        let projection = Some(consumer.freshness());
        let task = Self::over(name, consumer, |consumer, cancel| async move {
            consumer.run(cancel).await;
            Ok(())
        });
        Self { projection, ..task }
    }

    /// Runs the task once. The runtime restarts a task that ends early; a test does not.
    pub fn run(&self, cancel: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        (self.start)(cancel)
    }
}

/// Between two runs of the tasks that remove old rows.
pub const PURGE_INTERVAL: Duration = Duration::from_hours(1);
/// Between two counts of the failed jobs, for the metric.
const COUNT_INTERVAL: Duration = Duration::from_mins(1);
/// Between two runs of the task that seals the audit log.
const SEAL_INTERVAL: Duration = Duration::from_secs(5);

/// Returns the tasks that every service runs on its own database: sealing the audit log, purging idempotency
/// records, events and failed jobs, and notifying other replicas of new events. Tasks are named
/// `<service>.<task>`.
pub fn maintenance(service: &str, db: &Db, bus: &Arc<dyn Bus>) -> Vec<Task> {
    let section = service.replace('-', "_");
    let name = |task: &str| format!("{section}.{task}");
    parta_feed::observe(db);
    let failed_jobs = opentelemetry::global::meter("parta")
        .u64_gauge("parta.jobs.failed")
        .with_description("Durable jobs that are not tried again until the operator acts")
        .build();
    let of_service = [opentelemetry::KeyValue::new("service", service.to_owned())];
    vec![
        Task::periodic(
            name("count_failed_jobs"),
            COUNT_INTERVAL,
            db.clone(),
            move |db, _| {
                let (failed_jobs, of_service) = (failed_jobs.clone(), of_service.clone());
                async move {
                    failed_jobs.record(parta_jobs::count_failed(db.conn()).await?, &of_service);
                    Ok::<_, parta_database::StorageError>(())
                }
            },
        ),
        Task::over(name("audit"), db.clone(), |db, cancel| async move {
            periodic::run(SEAL_INTERVAL, &cancel, || async {
                parta_audit::seal(&db).await.map(drop)
            })
            .await;
            // The acts of the last calls.
            parta_audit::seal(&db).await?;
            Ok(())
        }),
        Task::periodic(
            name("purge_idempotency_records"),
            PURGE_INTERVAL,
            db.clone(),
            |db, _| async move { parta_mutations::purge(&db).await },
        ),
        Task::periodic(
            name("purge_events"),
            PURGE_INTERVAL,
            db.clone(),
            |db, _| async move { parta_feed::purge(&db).await },
        ),
        Task::periodic(
            name("purge_failed_jobs"),
            PURGE_INTERVAL,
            db.clone(),
            |db, _| async move { parta_jobs::purge(&db).await },
        ),
        Task::periodic(
            name("purge_limits"),
            PURGE_INTERVAL,
            db.clone(),
            |db, _| async move { parta_limits::purge(&db).await },
        ),
        Task::over(
            name("event_notifier"),
            (db.clone(), bus.clone()),
            |(db, bus), cancel| async move {
                parta_feed::hint_task(db, bus, cancel).await;
                Ok(())
            },
        ),
    ]
}

/// The dependencies with which a service is built. Cheap to clone.
#[derive(Clone)]
pub struct ServiceContext {
    /// The name of the service.
    pub service: &'static str,
    /// The clock and the id source.
    pub env: Env,
    /// The migrated database of the service.
    pub db: Db,
    /// The live bus between replicas.
    pub bus: Arc<dyn Bus>,
    /// Channels to the other services: `context.clients.client("membership")?`, and for streams
    /// `context.clients.watch("membership")?`.
    pub clients: ServiceClients,
    /// Verifies bearer tokens. The authenticate layer already uses it; a service uses it for revocation and
    /// streams.
    pub verifier: Arc<Verifier>,
    /// Secrets of this service only, derived from the master secret.
    pub secrets: Secrets,
    /// The identity of this service toward other services. The client layers already present it.
    pub identity: Arc<ServiceIdentity>,
    /// Spawns tasks that the shutdown waits for.
    pub tracker: TaskTracker,
    /// Canceled when background work must end. Streams need not observe it: `draining` is canceled earlier.
    pub cancel: CancellationToken,
    /// Canceled first, when the server drains. The layers of the server ([`parta_grpc::server`]) then end
    /// open streams with NOT_SERVING.
    pub draining: CancellationToken,
    /// The keys of the token issuer, one of which signs; empty except for membership.
    pub signing_keys: Vec<SigningKey>,
    /// Whether this process is reachable from this machine only. A development outbox requires it.
    pub loopback_only: bool,
    /// The `iss` claim of the tokens of Parta.
    pub issuer: String,
    pub(crate) section: Section,
}

impl ServiceContext {
    /// Parses the configuration of the service: its section without the keys that the runtime reads.
    pub fn config<T: ServiceConfig>(&self) -> anyhow::Result<T> {
        self.section.parse()
    }
}
