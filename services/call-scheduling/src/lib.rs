//! Planned calls: when they are held, whom they are for, and who may enter the media server's room.
//!
//! Owns calls, their recurrence and what is known of single occurrences. Invariants: a series keeps its wall-clock time
//! across changes of daylight saving; the audience is a rule over the roster, so that who moved is let in or kept out at
//! once; a token of the media server opens one room to one person for at most ten minutes.
mod announcements;
mod calls;
mod config;
mod context;
mod error;
mod feed;
mod grpc;
mod join;
mod migrations;
mod permissions;
mod recurrence;

use std::sync::Arc;

use parta_access::Secrets;
use parta_feed::{AtLeast, CallSchedulingFeed, FeedServer};
use parta_grpc::{Routes, ServiceClients};
use parta_proto::parta::call_scheduling::v1::{
    call_scheduling_feed_service_server::CallSchedulingFeedServiceServer,
    call_service_server::CallServiceServer,
};
use parta_roster::{ConsumerNames, NoObserver, Projection, Roster};
use parta_runtime::{Service, ServiceContext, ServiceParts, Task};
use parta_storage::Db;
use sea_orm_migration::MigrationTrait;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use permissions::permissions;

use context::App;
use join::media::LiveKit;

const NAME: &str = "call-scheduling";
const GRPC_SERVICES: &[&str] = &[
    "parta.call_scheduling.v1.CallService",
    "parta.call_scheduling.v1.CallSchedulingFeedService",
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
    if LiveKit::of(&config, &context.secrets, context.loopback_only).is_none() {
        tracing::warn!("no media server is configured: nobody can join a call");
    }
    let names = ConsumerNames {
        organizations: "call_scheduling.roster_organizations",
        members: "call_scheduling.roster_members",
    };
    let (org_registry, membership) = (
        context.clients.watch("org-registry")?,
        context.clients.watch("membership")?,
    );
    let projection =
        Projection::from_channels(names, &context.db, org_registry, membership, Arc::new(NoObserver));
    let ports = Ports {
        config,
        db: context.db.clone(),
        roster: projection.roster,
        secrets: context.secrets.clone(),
        peers: context.clients.clone(),
        draining: context.draining.clone(),
        loopback_only: context.loopback_only,
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
    let (routes, tasks) = (ports.routes(), tasks(&context));
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
    /// Whether only this machine reaches the process; then a media server of development will do.
    pub loopback_only: bool,
}

impl Ports {
    fn app(&self) -> App {
        App {
            db: self.db.clone(),
            at_least: AtLeast::new(self.db.clone(), self.roster.freshness()),
            roster: self.roster.clone(),
            secrets: self.secrets.clone(),
            peers: self.peers.clone(),
            media: LiveKit::of(&self.config, &self.secrets, self.loopback_only),
        }
    }

    /// The servers of the service's API.
    pub fn routes(&self) -> Routes {
        let feed =
            FeedServer::<CallSchedulingFeed>::new(self.db.clone(), self.draining.clone(), feed::snapshot);
        Routes::new(CallServiceServer::new(self.app()))
            .add_service(CallSchedulingFeedServiceServer::new(feed))
    }
}

fn tasks(context: &ServiceContext) -> Vec<Task> {
    let (db, bus) = (&context.db, &context.bus);
    let (sealed, answered, logged, hinted) = (db.clone(), db.clone(), db.clone(), (db.clone(), bus.clone()));
    vec![
        Task::new("call_scheduling.audit", move |cancel| {
            let db = sealed.clone();
            async move {
                parta_audit::sealing_task(db, cancel).await;
                Ok(())
            }
        }),
        Task::new("call_scheduling.purge_idempotency_records", move |cancel| {
            let db = answered.clone();
            async move {
                parta_storage::purge_task(db, cancel).await;
                Ok(())
            }
        }),
        Task::new("call_scheduling.purge_events", move |cancel| {
            let db = logged.clone();
            async move {
                parta_feed::purge_task(db, cancel).await;
                Ok(())
            }
        }),
        Task::new("call_scheduling.event_notifier", move |cancel| {
            let (db, bus) = hinted.clone();
            async move {
                parta_feed::hint_task(db, bus, cancel).await;
                Ok(())
            }
        }),
    ]
}
