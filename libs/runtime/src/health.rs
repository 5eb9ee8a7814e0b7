//! Health checks and reflection, which require no credential.
//!
//! | name | SERVING means |
//! |---|---|
//! | `startup` | the process has opened its databases and listens |
//! | `readiness` | services respond (below); projections applied their backlog; revocations are known |
//! | `liveness` | the process responds at all; a restart would cure nothing else |
//! | a gRPC service | its database responds, with a schema that this build may serve with |
//! | the empty name | all gRPC services of the process are SERVING |
//!
//! All but `liveness` are NOT_SERVING from the moment the process begins to stop. A projection that falls
//! behind later does not end `readiness`, because it falls behind in all replicas alike; calls that need it
//! are refused with PROJECTION_STALE. The same holds for revocations.
use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::join_all};
use parta_access::Verifier;
use parta_database::Db;
use parta_feed::Freshness;
use parta_grpc::Routes;
use parta_proto::Package;
use sea_orm_migration::MigrationTrait;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

const STARTUP: &str = "startup";
const READINESS: &str = "readiness";
const LIVENESS: &str = "liveness";
const ALL: &str = "";

/// The interval between checks of the databases, because nothing announces that one is gone.
const PERIOD: Duration = Duration::from_secs(2);
/// A database that does not respond within this time has failed the check.
const LIMIT: Duration = Duration::from_secs(2);
/// Consecutive failed checks until a service is NOT_SERVING, so that one slow moment takes no replica out.
const FAILURES: u32 = 2;

/// The facts that decide whether one service is healthy.
pub(crate) struct Checked {
    pub(crate) service: &'static str,
    /// Its gRPC services.
    pub(crate) names: Vec<&'static str>,
    pub(crate) db: Db,
    pub(crate) migrations: fn() -> Vec<Box<dyn MigrationTrait>>,
    /// Its projections of other services.
    pub(crate) projections: Vec<Freshness>,
}

/// The health of a process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Health {
    reporter: HealthReporter,
    published: Arc<Mutex<Published>>,
}

#[derive(Default)]
struct Published {
    statuses: BTreeMap<&'static str, bool>,
    /// The process is stopping, so that no check may report SERVING again.
    stopping: bool,
}

impl Health {
    /// Reports `liveness`, and NOT_SERVING for everything else.
    pub(crate) async fn new(services: &[&'static str]) -> Self {
        let health = Self {
            reporter: HealthReporter::new(),
            published: Arc::default(),
        };
        let rest = services.iter().copied().chain([STARTUP, READINESS, ALL]);
        let mut statuses: Vec<_> = rest.map(|name| (name, false)).collect();
        statuses.push((LIVENESS, true));
        health.publish(statuses).await;
        health
    }

    /// Checks the services once, reports `startup`, and continues to check until `cancel`.
    pub(crate) async fn watch(
        &self,
        services: Vec<Checked>,
        verifier: Arc<Verifier>,
        cancel: &CancellationToken,
        tracker: &tokio_util::task::TaskTracker,
    ) {
        let mut checks: Vec<Check> = services.into_iter().map(Check::new).collect();
        self.check(&mut checks, &verifier).await;
        self.publish(vec![(STARTUP, true)]).await;
        let (health, cancel) = (self.clone(), cancel.clone());
        tracker.spawn(async move {
            // Readiness does not wait for the next period when the last projection becomes complete.
            let completed = futures::future::join(completed(&checks), verifier.revocations_known());
            let mut completed = pin!(completed.fuse());
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    _ = &mut completed => {}
                    () = tokio::time::sleep(PERIOD) => {}
                }
                health.check(&mut checks, &verifier).await;
            }
        });
    }

    async fn check(&self, checks: &mut [Check], verifier: &Verifier) {
        let mut running = Vec::new();
        for check in &mut *checks {
            running.push(check.run());
        }
        join_all(running).await;
        let serving = checks.iter().all(|check| check.serving);
        let complete = verifier.knows_revocations() && checks.iter().all(Check::is_complete);
        let mut statuses = vec![(ALL, serving), (READINESS, serving && complete)];
        for check in checks {
            statuses.extend(check.of.names.iter().map(|name| (*name, check.serving)));
        }
        self.publish(statuses).await;
    }

    /// Reports NOT_SERVING for everything but `liveness`, for good.
    pub(crate) async fn stopping(&self) {
        let mut published = self.published.lock().await;
        published.stopping = true;
        for (name, serving) in &mut published.statuses {
            if *name != LIVENESS && *serving {
                *serving = false;
                self.set(name, false).await;
            }
        }
    }

    async fn publish(&self, statuses: Vec<(&'static str, bool)>) {
        let mut published = self.published.lock().await;
        if published.stopping {
            return;
        }
        for (name, serving) in statuses {
            if published.statuses.insert(name, serving) != Some(serving) {
                self.set(name, serving).await;
            }
        }
    }

    async fn set(&self, name: &str, serving: bool) {
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.reporter.set_service_status(name, status).await;
    }

    /// Returns the routes of health checks, and of reflection of these packages by v1 and by v1alpha, which
    /// older tools require. Reflection has the messages of refusals too, so that tools can print them.
    pub(crate) fn routes(&self, packages: &[&Package]) -> anyhow::Result<Routes> {
        let reflect = || {
            let builder = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(parta_status::DETAILS);
            packages.iter().fold(builder, |builder, package| {
                builder.register_encoded_file_descriptor_set(package.descriptors)
            })
        };
        Ok(self
            .checks()
            .add_service(reflect().build_v1()?)
            .add_service(reflect().build_v1alpha()?))
    }

    /// Returns the route of health checks.
    pub(crate) fn checks(&self) -> Routes {
        let health = tonic_health::server::HealthService::from_health_reporter(self.reporter.clone());
        Routes::new(tonic_health::pb::health_server::HealthServer::new(health))
    }
}

/// Waits until each projection was complete once.
fn completed(checks: &[Check]) -> impl Future<Output = ()> + use<> {
    let projections: Vec<Freshness> = checks
        .iter()
        .flat_map(|check| check.of.projections.clone())
        .collect();
    async move {
        for projection in projections {
            projection.completed().await;
        }
    }
}

/// The check of one service and its result.
struct Check {
    of: Checked,
    failures: u32,
    serving: bool,
}

impl Check {
    fn new(of: Checked) -> Self {
        Self {
            of,
            failures: 0,
            // The start has just checked the schema.
            serving: true,
        }
    }

    async fn run(&mut self) {
        let migrations = (self.of.migrations)();
        let checked = tokio::time::timeout(LIMIT, self.of.db.check_schema(&migrations)).await;
        let error = match checked {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no response within {} s", LIMIT.as_secs())),
        };
        self.failures = error.as_ref().map_or(0, |_| self.failures.saturating_add(1));
        let serving = self.failures < FAILURES;
        if serving != self.serving {
            self.serving = serving;
            let service = self.of.service;
            match error {
                Some(error) => tracing::error!(service, error, "service not serving: database failed"),
                None => tracing::info!(service, "service serving again"),
            }
        }
    }

    /// Returns whether each projection was complete once.
    fn is_complete(&self) -> bool {
        self.of.projections.iter().all(Freshness::is_complete)
    }
}
