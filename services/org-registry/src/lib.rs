//! The registry of organizations: applications, organizations, their policies and their units.
//!
//! Invariants: an application is decided once; an approval makes the organization, its staff room, their events and the
//! administrator's right in one transaction, or nothing; a label belongs to one living unit of its kind.

mod applications;
mod config;
mod context;
mod convert;
mod entities;
mod error;
mod feed;
mod grpc;
mod migrations;
mod organizations;
mod permissions;
mod queries;
mod units;

use std::sync::Arc;

use parta_feed::{AtLeast, Consumer, FeedClient, FeedServer, MembershipFeed, OrgRegistryFeed};
use parta_grpc::{Routes, ServiceClients};
use parta_proto::parta::org_registry::v1::{
    application_service_server::ApplicationServiceServer,
    org_registry_feed_service_server::OrgRegistryFeedServiceServer,
    organization_service_server::OrganizationServiceServer, unit_service_server::UnitServiceServer,
};
use parta_roster::{ConsumerNames, Members, Roster, RosterObserver};
use parta_runtime::{Service, ServiceContext, ServiceParts, Task};
use parta_storage::{Db, jobs::JobRunner};
use sea_orm_migration::MigrationTrait;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use permissions::permissions;

use applications::appoint::APPOINT_JOB;
use context::App;
use units::events::ImportObserver;

const NAME: &str = "org-registry";
/// Full names of the service's gRPC services.
pub const GRPC_SERVICES: &[&str] = &[
    "parta.org_registry.v1.ApplicationService",
    "parta.org_registry.v1.OrganizationService",
    "parta.org_registry.v1.UnitService",
    "parta.org_registry.v1.OrgRegistryFeedService",
];
/// The names of its consumers. Its own half of the projection it writes itself.
pub const NAMES: ConsumerNames = ConsumerNames {
    organizations: "org-registry.own",
    members: "org-registry.roster_members",
};

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

/// What the service works with, whoever gives it: the runtime, or a test.
#[derive(Clone)]
pub struct Ports {
    /// Its own database, migrated.
    pub db: Db,
    /// What it knows of people.
    pub roster: Roster,
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
            peers: self.peers.clone(),
        }
    }

    /// The servers of the service's API.
    pub fn routes(&self) -> Routes {
        let feed = FeedServer::<OrgRegistryFeed>::new(self.db.clone(), self.draining.clone(), feed::snapshot);
        Routes::new(ApplicationServiceServer::new(self.app()))
            .add_service(OrganizationServiceServer::new(self.app()))
            .add_service(UnitServiceServer::new(self.app()))
            .add_service(OrgRegistryFeedServiceServer::new(feed))
    }

    /// Runs the jobs that appoint founding administrators.
    pub fn job_runner(&self) -> JobRunner {
        JobRunner::new(self.db.clone()).handle(APPOINT_JOB, Arc::new(self.app()))
    }
}

/// Makes the units of roster imports as they are heard of.
pub fn roster_observer() -> Arc<dyn RosterObserver> {
    Arc::new(ImportObserver)
}

async fn build(context: ServiceContext) -> anyhow::Result<ServiceParts> {
    let Config {} = context.config()?;
    let source = FeedClient::<MembershipFeed, _>::new(context.clients.watch("membership")?);
    let members = Consumer::new(
        NAMES.members,
        context.db.clone(),
        source,
        Members::new(roster_observer()),
    );
    let ports = Ports {
        db: context.db.clone(),
        roster: Roster::within_org_registry(NAMES, context.env.clone(), members.freshness()),
        peers: context.clients.clone(),
        draining: context.draining.clone(),
    };
    let consumers = vec![Task::new(NAMES.members, move |cancel| {
        let consumer = members.clone();
        async move {
            consumer.run(cancel).await;
            Ok(())
        }
    })];
    let (routes, tasks) = (ports.routes(), tasks(&context, ports));
    Ok(ServiceParts {
        name: NAME,
        routes,
        services: GRPC_SERVICES.to_vec(),
        consumers,
        tasks,
    })
}

fn tasks(context: &ServiceContext, ports: Ports) -> Vec<Task> {
    let (db, bus) = (&context.db, &context.bus);
    let (sealed, answered, logged, hinted) = (db.clone(), db.clone(), db.clone(), (db.clone(), bus.clone()));
    vec![
        Task::new("org-registry.jobs", move |cancel| {
            let runner = ports.job_runner();
            async move {
                runner.run(cancel).await;
                Ok(())
            }
        }),
        Task::new("org-registry.audit", move |cancel| {
            let db = sealed.clone();
            async move {
                parta_audit::sealing_task(db, cancel).await;
                Ok(())
            }
        }),
        Task::new("org-registry.purge_idempotency_records", move |cancel| {
            let db = answered.clone();
            async move {
                parta_storage::purge_task(db, cancel).await;
                Ok(())
            }
        }),
        Task::new("org-registry.purge_events", move |cancel| {
            let db = logged.clone();
            async move {
                parta_feed::purge_task(db, cancel).await;
                Ok(())
            }
        }),
        Task::new("org-registry.event_notifier", move |cancel| {
            let (db, bus) = hinted.clone();
            async move {
                parta_feed::hint_task(db, bus, cancel).await;
                Ok(())
            }
        }),
    ]
}
