//! Invitations: the only door into an organization.
//!
//! Owns invitations, reservations (the use of a link by one join flow) and through them the lineage of who came by which
//! link. Invariants: a link of N uses admits at most N, under any concurrency and across crashes; no secret is stored or
//! told in an event; who presents an unusable secret is not told why it is unusable.
mod acceptance;
mod config;
mod context;
mod entities;
mod error;
mod feed;
mod grpc;
pub mod invitations;
mod migrations;
mod permissions;

use std::sync::Arc;

use parta_access::Secrets;
use parta_feed::{AtLeast, FeedServer, InvitationFeed};
use parta_grpc::{Routes, ServiceClients};
use parta_proto::parta::invitation::v1::{
    invitation_feed_service_server::InvitationFeedServiceServer,
    invitation_service_server::InvitationServiceServer,
};
use parta_roster::{ConsumerNames, Projection, Roster, RosterObserver};
use parta_runtime::{Service, ServiceContext, ServiceParts, Task};
use parta_storage::{Db, jobs::JobRunner};
use sea_orm_migration::MigrationTrait;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use permissions::permissions;

use acceptance::operations::RESUME_JOB;
use context::App;
use invitations::events::ImportObserver;

const NAME: &str = "invitation";
const GRPC_SERVICES: &[&str] = &[
    "parta.invitation.v1.InvitationService",
    "parta.invitation.v1.InvitationFeedService",
];

/// The service as the runtime sees it.
pub const SERVICE: Service = Service {
    name: NAME,
    grpc_services: GRPC_SERVICES,
    config: parta_runtime::config::check::<Config>,
    build: |context| Box::pin(build(context)),
    migrations,
};

/// Every migration of the service's database, in order.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = parta_storage::migrations();
    all.extend(parta_audit::migrations());
    all.extend(parta_feed::migrations());
    all.extend(parta_roster::migrations());
    all.extend(migrations::migrations());
    all
}

async fn build(context: ServiceContext) -> anyhow::Result<ServiceParts> {
    let config: Config = context.config()?;
    let names = ConsumerNames {
        organizations: "invitation.roster_organizations",
        members: "invitation.roster_members",
    };
    let (org_registry, membership) = (
        context.clients.watch("org-registry")?,
        context.clients.watch("membership")?,
    );
    let projection = Projection::from_channels(
        names,
        &context.db,
        org_registry,
        membership,
        roster_observer(context.secrets.clone()),
    );
    let ports = Ports {
        config,
        db: context.db.clone(),
        roster: projection.roster,
        secrets: context.secrets.clone(),
        peers: context.clients.clone(),
        draining: context.draining.clone(),
    };
    let (organizations, members) = (projection.organizations, projection.members);
    let consumers = vec![
        Task::new(names.organizations, move |cancel| {
            let consumer = organizations.clone();
            async move {
                consumer.run(cancel).await;
                Ok(())
            }
        }),
        Task::new(names.members, move |cancel| {
            let consumer = members.clone();
            async move {
                consumer.run(cancel).await;
                Ok(())
            }
        }),
    ];
    let (routes, tasks) = (ports.routes(), tasks(&context, ports));
    Ok(ServiceParts {
        name: NAME,
        routes,
        services: GRPC_SERVICES.to_vec(),
        consumers,
        tasks,
    })
}

/// What the service works with, whoever gives it: the runtime, or a test.
#[derive(Clone)]
pub struct Ports {
    /// Its configuration.
    pub config: Config,
    /// Its own database, migrated.
    pub db: Db,
    /// What it knows of organizations and people.
    pub roster: Roster,
    /// Keys derived for this service.
    pub secrets: Secrets,
    /// Channels to the other services.
    pub peers: ServiceClients,
    /// Cancelled when streams are to end.
    pub draining: CancellationToken,
}

impl Ports {
    fn app(&self) -> App {
        App {
            db: self.db.clone(),
            at_least: AtLeast::new(self.db.clone(), self.roster.freshness()),
            roster: self.roster.clone(),
            secrets: self.secrets.clone(),
            peers: self.peers.clone(),
            config: self.config.clone(),
        }
    }

    /// The servers of the service's API.
    pub fn routes(&self) -> Routes {
        let feed = FeedServer::<InvitationFeed>::new(self.db.clone(), self.draining.clone(), feed::snapshot);
        Routes::new(InvitationServiceServer::new(self.app()))
            .add_service(InvitationFeedServiceServer::new(feed))
    }

    /// Runs the jobs that finish interrupted acceptances.
    pub fn job_runner(&self) -> JobRunner {
        JobRunner::new(self.db.clone()).handle(RESUME_JOB, Arc::new(self.app()))
    }
}

/// Makes the links of roster imports as they are heard of.
pub fn roster_observer(secrets: Secrets) -> Arc<dyn RosterObserver> {
    Arc::new(ImportObserver(secrets))
}

fn tasks(context: &ServiceContext, ports: Ports) -> Vec<Task> {
    let (db, bus) = (&context.db, &context.bus);
    let (sealed, answered, logged, hinted) = (db.clone(), db.clone(), db.clone(), (db.clone(), bus.clone()));
    vec![
        Task::new("invitation.jobs", move |cancel| {
            let runner = ports.job_runner();
            async move {
                runner.run(cancel).await;
                Ok(())
            }
        }),
        Task::new("invitation.audit", move |cancel| {
            let db = sealed.clone();
            async move {
                parta_audit::sealing_task(db, cancel).await;
                Ok(())
            }
        }),
        Task::new("invitation.purge_idempotency_records", move |cancel| {
            let db = answered.clone();
            async move {
                parta_storage::purge_task(db, cancel).await;
                Ok(())
            }
        }),
        Task::new("invitation.purge_events", move |cancel| {
            let db = logged.clone();
            async move {
                parta_feed::purge_task(db, cancel).await;
                Ok(())
            }
        }),
        Task::new("invitation.event_notifier", move |cancel| {
            let (db, bus) = hinted.clone();
            async move {
                parta_feed::hint_task(db, bus, cancel).await;
                Ok(())
            }
        }),
    ]
}
