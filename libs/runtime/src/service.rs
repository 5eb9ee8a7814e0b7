//! What a service gives to the runtime, and what it is given.
use std::{borrow::Cow, future::Future, sync::Arc};

use futures::future::BoxFuture;
use parta_access::{Secrets, ServiceIdentity, SigningKey, Verifier};
use parta_feed::{Bus, Consumer, Handler, Source};
use parta_grpc::{Routes, ServiceClients};
use parta_ids::Env;
use parta_storage::Db;
use sea_orm_migration::MigrationTrait;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::config::{Section, ServiceConfig};

/// One service of the suite as the runtime sees it. A service crate exports one value of it:
///
/// ```ignore
/// pub const SERVICE: Service = Service {
///     name: "org-registry",
///     grpc_services: &["parta.org_registry.v1.OrganizationService", "parta.org_registry.v1.OrgRegistryFeedService"],
///     config: parta_runtime::config::check::<Config>,
///     build: |context| Box::pin(build(context)),
///     migrations,
/// };
/// async fn build(context: ServiceContext) -> anyhow::Result<ServiceParts> { let config: Config = context.config()?; ... }
/// ```
/// and its `main.rs` is `fn main() -> std::process::ExitCode { parta_runtime::run_service(SERVICE) }`.
#[derive(Clone, Copy)]
pub struct Service {
    /// Kebab name: `org-registry`, `membership`, `invitation`, `chat`, `call-scheduling`.
    pub name: &'static str,
    /// Full names of every gRPC service in its routes; an RPC of them without an access rule stops the start.
    pub grpc_services: &'static [&'static str],
    /// Checks its configuration section before anything is opened: `parta_runtime::config::check::<Config>`.
    pub config: fn(&Section) -> Vec<String>,
    /// Builds it on a migrated database. Calls no peer: clients may start later.
    pub build: fn(ServiceContext) -> BoxFuture<'static, anyhow::Result<ServiceParts>>,
    /// All its migrations: those of the libs it uses (storage, audit, feed, roster) and its own, in order.
    pub migrations: fn() -> Vec<Box<dyn MigrationTrait>>,
}

impl Service {
    /// Name of its configuration section and of its proto package segment: `org_registry`.
    pub fn section(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// What a built service consists of.
pub struct ServiceParts {
    /// Its name, as in [`Service::name`].
    pub name: &'static str,
    /// Its generated servers: `Routes::new(server).add_service(..)`.
    pub routes: Routes,
    /// Full names of the services in `routes`; each has a health state of its own.
    pub services: Vec<&'static str>,
    /// Consumers of feeds; stopped before the other tasks.
    pub consumers: Vec<Task>,
    /// Everything else that runs: job runners, sealing, recovery, pruning.
    pub tasks: Vec<Task>,
}

/// A named background task that runs until its token is canceled. If it ends earlier, with or without an error, that is
/// logged as a fault and the task is started again after a growing pause.
#[derive(Clone)]
pub struct Task {
    pub(crate) name: Cow<'static, str>,
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

    /// Creates the task of a consumer of a feed.
    pub fn consumer<S, H>(name: &'static str, consumer: Consumer<S, H>) -> Self
    where
        S: Source + 'static,
        H: Handler<Event = S::Event> + 'static,
    {
        Self::over(name, consumer, |consumer, cancel| async move {
            consumer.run(cancel).await;
            Ok(())
        })
    }

    /// Runs the task once. The runtime starts it again when it ends early; a test does not.
    pub fn run(&self, cancel: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        (self.start)(cancel)
    }
}

/// The tasks that every service runs over its own database: sealing the audit log, purging idempotency records and
/// events, and notifying other replicas of new events. Tasks are named `<service>.<task>`.
pub fn maintenance(service: &str, db: &Db, bus: &Arc<dyn Bus>) -> Vec<Task> {
    let section = service.replace('-', "_");
    let name = |task: &str| format!("{section}.{task}");
    vec![
        Task::over(name("audit"), db.clone(), |db, cancel| async move {
            parta_audit::sealing_task(db, cancel).await;
            Ok(())
        }),
        Task::over(
            name("purge_idempotency_records"),
            db.clone(),
            |db, cancel| async move {
                parta_storage::purge_task(db, cancel).await;
                Ok(())
            },
        ),
        Task::over(name("purge_events"), db.clone(), |db, cancel| async move {
            parta_feed::purge_task(db, cancel).await;
            Ok(())
        }),
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

/// What a service is built with. Cheap to clone.
#[derive(Clone)]
pub struct ServiceContext {
    /// Name of the service that is built.
    pub service: &'static str,
    /// Clock and chance.
    pub env: Env,
    /// Its own database, migrated.
    pub db: Db,
    /// Live bus between replicas.
    pub bus: Arc<dyn Bus>,
    /// Channels to the other services: `context.clients.client("membership")?`, for streams `context.clients.watch("membership")?`.
    pub clients: ServiceClients,
    /// Verifies bearer tokens; already used by the authenticate layer, here for revocation and for streams.
    pub verifier: Arc<Verifier>,
    /// Secrets derived from the master secret, for this service alone.
    pub secrets: Secrets,
    /// Proves this service to others; the client stack already presents it.
    pub identity: Arc<ServiceIdentity>,
    /// Where tasks are spawned, so that the shutdown waits for them.
    pub tracker: TaskTracker,
    /// Cancelled when background work must end. Streams end by themselves: their connection is told before.
    pub cancel: CancellationToken,
    /// Cancelled first, when serving ends: an open stream answers NOT_SERVING ([`parta_grpc::until_shutdown`]).
    pub draining: CancellationToken,
    /// Keys of the token issuer, of which one signs; empty for all but membership.
    pub signing_keys: Vec<SigningKey>,
    /// Whether this process is reachable from this machine only. A development outbox refuses to start otherwise.
    pub loopback_only: bool,
    /// `iss` of the suite's tokens.
    pub issuer: String,
    pub(crate) section: Section,
}

impl ServiceContext {
    /// The typed configuration of the service: its section without the keys that the runtime reads.
    pub fn config<T: ServiceConfig>(&self) -> anyhow::Result<T> {
        self.section.parse()
    }
}
