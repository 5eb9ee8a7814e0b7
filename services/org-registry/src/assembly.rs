//! Assembles the service from its features.
use std::sync::Arc;

use parta_access::PermissionRule;
use parta_database::Db;
use parta_edge::Edge;
use parta_feed::{AtLeast, Consumer, FeedClient, FeedServer, Freshness};
use parta_grpc::{Routes, ServiceClients};
use parta_jobs::{JobRunner, Limits};
use parta_operations::{JobServer, QuarantineServer};
use parta_proto_membership::MembershipFeed;
use parta_proto_org_registry::{
    OrgRegistryFeed,
    v1::{
        application_service_server::ApplicationServiceServer,
        org_registry_feed_service_server::OrgRegistryFeedServiceServer,
        org_registry_job_service_server::OrgRegistryJobServiceServer,
        org_registry_quarantine_service_server::OrgRegistryQuarantineServiceServer,
        organization_service_server::OrganizationServiceServer, policy_service_server::PolicyServiceServer,
        unit_service_server::UnitServiceServer,
    },
};
use parta_roster::{Members, Roster, RosterObserver, StagedImportJob};
use parta_runtime::{ServiceContext, Task};
use tokio_util::sync::CancellationToken;

use crate::{
    NAME,
    applications::{APPOINT_JOB, ApplicationLimits, Applications, AppointAdministrator},
    config::Config,
    context::Context,
    feed,
    organizations::Organizations,
    policies::PolicyChanges,
    units::{CreateImportedUnits, IMPORT_JOB, IMPORT_OBSERVER, Units},
};

/// The name of the consumer of membership. The service keeps the half of organizations itself.
const CONSUMER: &str = "org_registry.roster_members";

/// The dependencies of the service, provided by the runtime or by a test.
#[derive(Clone)]
pub(crate) struct Ports {
    /// The service's own database, migrated.
    pub(crate) db: Db,
    /// Organizations, units and members.
    pub(crate) roster: Roster,
    /// Channels to the other services.
    pub(crate) clients: ServiceClients,
    pub(crate) config: Config,
    /// Canceled when streams must end.
    pub(crate) draining: CancellationToken,
}

impl Ports {
    fn context(&self) -> Arc<Context> {
        Arc::new(Context {
            roster: self.roster.clone(),
            clients: self.clients.clone(),
            limits: ApplicationLimits::new(&self.config),
        })
    }

    /// Returns the gRPC servers of the service.
    pub(crate) fn routes(&self) -> Routes {
        let at_least = AtLeast::new(self.db.clone(), self.roster.freshness());
        let edge = Edge::new(self.db.clone(), at_least, self.context());
        let feed = FeedServer::<OrgRegistryFeed>::new(self.db.clone(), self.draining.clone(), feed::snapshot);
        let jobs = JobServer::new(self.db.clone());
        let quarantines = QuarantineServer::new(self.db.clone());
        Routes::new(ApplicationServiceServer::new(Applications::new(edge.clone())))
            .add_service(OrganizationServiceServer::new(Organizations::new(edge.clone())))
            .add_service(PolicyServiceServer::new(PolicyChanges::new(edge.clone())))
            .add_service(UnitServiceServer::new(Units::new(edge)))
            .add_service(OrgRegistryFeedServiceServer::new(feed))
            .add_service(OrgRegistryJobServiceServer::new(jobs))
            .add_service(OrgRegistryQuarantineServiceServer::new(quarantines))
    }

    /// Returns the runner of the jobs: they appoint founding administrators and create imported classes.
    pub(crate) fn job_runner(&self) -> JobRunner {
        let appoint = AppointAdministrator::new(self.db.clone(), self.context());
        let import = StagedImportJob {
            db: self.db.clone(),
            creator: CreateImportedUnits,
        };
        JobRunner::new(self.db.clone())
            .handle(APPOINT_JOB, Limits::default(), Arc::new(appoint))
            .handle(IMPORT_JOB, Limits::default(), Arc::new(import))
    }
}

/// Returns the observer that enqueues the jobs for the classes of staged roster imports.
pub(crate) fn roster_observer() -> Arc<dyn RosterObserver> {
    Arc::new(IMPORT_OBSERVER)
}

/// Returns the roster, and the task that keeps its half of members up to date.
pub(crate) fn roster(context: &ServiceContext) -> anyhow::Result<(Roster, Vec<Task>)> {
    let source = FeedClient::<MembershipFeed, _>::new(context.clients.watch("membership")?);
    let members = Consumer::new(
        CONSUMER,
        context.db.clone(),
        source,
        Members::new(roster_observer()),
    );
    let roster = Roster::new(Freshness::always(NAME), members.freshness());
    let tasks = vec![Task::consumer(CONSUMER, members)];
    Ok((roster, tasks))
}

/// Returns the background tasks of the service.
pub(crate) fn tasks(context: &ServiceContext, ports: Ports) -> Vec<Task> {
    let mut tasks = parta_runtime::maintenance(context.service, &context.db, &context.bus);
    tasks.push(Task::over(
        "org_registry.jobs",
        ports,
        |ports, cancel| async move {
            ports.job_runner().run(cancel).await;
            Ok(())
        },
    ));
    tasks
}

/// The rows of the permission matrix of the gRPC services that every service serves alike.
pub(crate) fn common_rules() -> Vec<PermissionRule> {
    parta_operations::common_rules::<OrgRegistryFeed>(parta_proto_org_registry::OPERATOR_RPCS)
}
