//! Puts the parts of the service together.
use std::sync::Arc;

use parta_access::{PermissionRule, Secrets};
use parta_database::Db;
use parta_edge::Edge;
use parta_feed::{AtLeast, FeedServer};
use parta_grpc::{Routes, ServiceClients};
use parta_jobs::{JobRunner, Limits};
use parta_operations::{JobServer, QuarantineServer};
use parta_proto_invitation::{
    InvitationFeed,
    v1::{
        invitation_feed_service_server::InvitationFeedServiceServer,
        invitation_job_service_server::InvitationJobServiceServer,
        invitation_quarantine_service_server::InvitationQuarantineServiceServer,
        invitation_service_server::InvitationServiceServer,
    },
};
use parta_roster::{ConsumerNames, Observers, Projection, Roster, RosterObserver, StagedImportJob};
use parta_runtime::{PURGE_INTERVAL, ServiceContext, Task};
use tokio_util::sync::CancellationToken;

use crate::{
    acceptance::{
        self, DecisionObserver, EndRequests, RESUME_JOB, ResumeAdmissions, SETTLE_JOB, SettleRequests,
    },
    config::Config,
    context::Context,
    feed,
    grpc::Server,
    invitations::{CreateImportedLinks, END_JOB, IMPORT_JOB, IMPORT_OBSERVER, ReleaseObserver},
};

const CONSUMERS: ConsumerNames = ConsumerNames {
    organizations: "invitation.roster_organizations",
    members: "invitation.roster_members",
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
    /// Channels to the other services.
    pub(crate) clients: ServiceClients,
    /// Canceled when streams must end.
    pub(crate) draining: CancellationToken,
}

impl Ports {
    fn context(&self) -> Arc<Context> {
        Arc::new(Context {
            db: self.db.clone(),
            roster: self.roster.clone(),
            secrets: self.secrets.clone(),
            clients: self.clients.clone(),
            config: self.config.clone(),
        })
    }

    /// The servers of the service's API.
    pub(crate) fn routes(&self) -> Routes {
        let context = self.context();
        let at_least = AtLeast::new(self.db.clone(), self.roster.freshness());
        let edge = Edge::new(self.db.clone(), at_least, context.clone());
        let feed = FeedServer::<InvitationFeed>::new(self.db.clone(), self.draining.clone(), feed::snapshot);
        let jobs = JobServer::new(self.db.clone());
        let quarantines = QuarantineServer::new(self.db.clone());
        Routes::new(InvitationServiceServer::new(Server::new(edge, context)))
            .add_service(InvitationFeedServiceServer::new(feed))
            .add_service(InvitationJobServiceServer::new(jobs))
            .add_service(InvitationQuarantineServiceServer::new(quarantines))
    }

    /// Runs the jobs: they finish interrupted acceptances, end requests, and create the links of imports.
    pub(crate) fn job_runner(&self) -> JobRunner {
        let resume = ResumeAdmissions(self.context());
        let import = StagedImportJob {
            db: self.db.clone(),
            creator: CreateImportedLinks {
                secrets: self.secrets.clone(),
            },
        };
        let settle = SettleRequests(self.context());
        JobRunner::new(self.db.clone())
            .handle(SETTLE_JOB, Limits::default(), Arc::new(settle))
            .handle(END_JOB, Limits::default(), Arc::new(EndRequests(self.context())))
            .handle(RESUME_JOB, Limits::default(), Arc::new(resume))
            .handle(IMPORT_JOB, Limits::default(), Arc::new(import))
    }
}

/// Enqueues the jobs that create the links of staged roster imports and that end requests to join, and
/// revokes the links of released records.
pub(crate) fn roster_observer() -> Arc<dyn RosterObserver> {
    Arc::new(Observers(vec![
        Box::new(IMPORT_OBSERVER),
        Box::new(ReleaseObserver),
        Box::new(DecisionObserver),
    ]))
}

/// The roster, and the tasks that keep it up to date.
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

pub(crate) fn tasks(context: &ServiceContext, ports: Ports) -> Vec<Task> {
    let mut tasks = parta_runtime::maintenance(context.service, &context.db, &context.bus);
    tasks.push(Task::periodic(
        "invitation.purge_reservations",
        PURGE_INTERVAL,
        context.db.clone(),
        |db, _| async move { acceptance::purge(&db).await },
    ));
    tasks.push(Task::over("invitation.jobs", ports, |ports, cancel| async move {
        ports.job_runner().run(cancel).await;
        Ok(())
    }));
    tasks
}

/// The rows of the permission matrix of the gRPC services that every service serves alike.
pub(crate) fn common_rules() -> Vec<PermissionRule> {
    parta_operations::common_rules::<InvitationFeed>(parta_proto_invitation::OPERATOR_RPCS)
}
