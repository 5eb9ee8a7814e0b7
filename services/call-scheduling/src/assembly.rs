//! Assembles the service from its features.
use std::sync::Arc;

use parta_access::{PermissionRule, Secrets, Verifier};
use parta_database::Db;
use parta_edge::Edge;
use parta_feed::{AtLeast, FeedServer};
use parta_grpc::{Routes, ServiceClients};
use parta_jobs::JobRunner;
use parta_operations::{JobServer, QuarantineServer};
use parta_proto_call_scheduling::{
    CallSchedulingFeed,
    v1::{
        call_scheduling_feed_service_server::CallSchedulingFeedServiceServer,
        call_scheduling_job_service_server::CallSchedulingJobServiceServer,
        call_scheduling_quarantine_service_server::CallSchedulingQuarantineServiceServer,
        call_service_server::CallServiceServer,
    },
};
use parta_roster::{ConsumerNames, Projection, Roster, RosterObserver};
use parta_runtime::{PURGE_INTERVAL, ServiceContext, Task};
use tokio_util::sync::CancellationToken;

use crate::{
    calls::ArchivedUnits,
    config::Config,
    context::Context,
    feed,
    grpc::Server,
    join::{ChangedRights, LOOK_LIMITS, Looking},
    rooms::{self, LiveKit},
};

const CONSUMERS: ConsumerNames = ConsumerNames {
    organizations: "call_scheduling.roster_organizations",
    members: "call_scheduling.roster_members",
};

/// The dependencies of the service, provided by the runtime or by a test.
#[derive(Clone)]
pub(crate) struct Ports {
    /// The configuration of the service.
    pub(crate) config: Config,
    /// The service's own database, migrated.
    pub(crate) db: Db,
    /// Organizations, units and members.
    pub(crate) roster: Roster,
    /// Keys derived for this service.
    pub(crate) secrets: Secrets,
    /// Knows the sessions that membership has ended.
    pub(crate) verifier: Arc<Verifier>,
    /// Channels to the other services.
    pub(crate) clients: ServiceClients,
    /// Canceled when streams must end.
    pub(crate) draining: CancellationToken,
    /// Whether only this machine can reach the process, so that a development media server is sufficient.
    pub(crate) loopback_only: bool,
}

impl Ports {
    fn context(&self) -> Arc<Context> {
        Arc::new(Context {
            db: self.db.clone(),
            roster: self.roster.clone(),
            secrets: self.secrets.clone(),
            verifier: self.verifier.clone(),
            clients: self.clients.clone(),
            config: self.config.clone(),
            loopback_only: self.loopback_only,
        })
    }

    /// Warns if there is no media server.
    pub(crate) fn check_media(&self) {
        if LiveKit::of(&self.config, &self.secrets, self.loopback_only).is_none() {
            tracing::warn!("no media server is configured, calls cannot be joined");
        }
    }

    /// Returns the runner of the jobs, which look into rooms of the media server.
    pub(crate) fn job_runner(&self) -> anyhow::Result<JobRunner> {
        let looking = Looking::new(self.context())?;
        Ok(JobRunner::new(self.db.clone()).handle(rooms::JOB, LOOK_LIMITS, Arc::new(looking)))
    }

    /// Returns the background tasks of the service. The runner is built here too, so that a wrong
    /// configuration fails at the start.
    pub(crate) fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        self.job_runner()?;
        let jobs = Task::over("call_scheduling.jobs", self.clone(), |ports, cancel| async move {
            ports.job_runner()?.run(cancel).await;
            Ok(())
        });
        let purge = Task::periodic(
            "call_scheduling.purge_rooms",
            PURGE_INTERVAL,
            self.db.clone(),
            |db, _| async move { rooms::purge(&db).await },
        );
        Ok(vec![jobs, purge])
    }

    /// Returns the gRPC servers of the service.
    pub(crate) fn routes(&self) -> Routes {
        let context = self.context();
        let at_least = AtLeast::new(self.db.clone(), self.roster.freshness());
        let edge = Edge::new(self.db.clone(), at_least, context.clone());
        let feed =
            FeedServer::<CallSchedulingFeed>::new(self.db.clone(), self.draining.clone(), feed::snapshot);
        let jobs = JobServer::new(self.db.clone());
        let quarantines = QuarantineServer::new(self.db.clone());
        Routes::new(CallServiceServer::new(Server::new(edge, context)))
            .add_service(CallSchedulingFeedServiceServer::new(feed))
            .add_service(CallSchedulingJobServiceServer::new(jobs))
            .add_service(CallSchedulingQuarantineServiceServer::new(quarantines))
    }
}

/// Returns the observer of the roster: it cancels the calls of archived units, and looks into open rooms
/// again.
pub(crate) fn roster_observer() -> Arc<dyn RosterObserver> {
    Arc::new(parta_roster::Observers(vec![
        Box::new(ArchivedUnits::new()),
        Box::new(ChangedRights),
    ]))
}

/// Returns the roster, and the tasks that keep it up to date.
pub(crate) fn roster(context: &ServiceContext) -> anyhow::Result<(Roster, Vec<Task>)> {
    let projection = Projection::from_channels(
        CONSUMERS,
        &context.db,
        context.clients.watch("org-registry")?,
        context.clients.watch("membership")?,
        roster_observer(),
    );
    let tasks = vec![
        Task::consumer(CONSUMERS.organizations, projection.organizations),
        Task::consumer(CONSUMERS.members, projection.members),
    ];
    Ok((projection.roster, tasks))
}

/// The rows of the permission matrix of the gRPC services that every service serves alike.
pub(crate) fn common_rules() -> Vec<PermissionRule> {
    parta_operations::common_rules::<CallSchedulingFeed>(parta_proto_call_scheduling::OPERATOR_RPCS)
}
