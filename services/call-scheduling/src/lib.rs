//! Planned calls: their times, their audience, and access to rooms of the media server.
//!
//! Features in order: `recurrence` (the times of a call), `rooms` (who was admitted to a room of the media
//! server), `calls` (planning, reading and canceling), `join` (tokens of the media server, and leaving),
//! `announcements` (messages about calls in the chat). Each states its invariants. A series keeps its
//! wall-clock time; the audience is a rule over the roster at the moment of the request; a token of the media
//! server opens one room to one person for at most ten minutes.
mod announcements;
mod assembly;
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
mod rooms;

#[cfg(test)]
mod tests;

use parta_runtime::{Service, ServiceContext, ServiceParts};
use sea_orm_migration::MigrationTrait;

use assembly::Ports;
use config::Config;

pub use permissions::{creator_permissions, permissions};

const NAME: &str = "call-scheduling";
const GRPC_SERVICES: &[&str] = &[
    "parta.call_scheduling.v1.CallService",
    "parta.call_scheduling.v1.CallSchedulingFeedService",
    "parta.call_scheduling.v1.CallSchedulingJobService",
    "parta.call_scheduling.v1.CallSchedulingQuarantineService",
];

/// The definition of the service for the runtime.
pub const SERVICE: Service = Service {
    name: NAME,
    package: &parta_proto_call_scheduling::PACKAGE,
    calls: &[
        &parta_proto_chat::PACKAGE,
        &parta_proto_membership::PACKAGE,
        &parta_proto_org_registry::PACKAGE,
    ],
    grpc_services: GRPC_SERVICES,
    config: parta_runtime::config::check::<Config>,
    build: |context| Box::pin(build(context)),
    migrations,
};

/// Every migration of the service's database, in order.
fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    parta_runtime::migrations(migrations::migrations())
}

async fn build(context: ServiceContext) -> anyhow::Result<ServiceParts> {
    let config: Config = context.config()?;
    let (roster, consumers) = assembly::roster(&context)?;
    let ports = Ports {
        config,
        db: context.db.clone(),
        roster,
        secrets: context.secrets.clone(),
        verifier: context.verifier.clone(),
        clients: context.clients.clone(),
        draining: context.draining.clone(),
        loopback_only: context.loopback_only,
    };
    ports.check_media();
    let mut tasks = parta_runtime::maintenance(context.service, &context.db, &context.bus);
    tasks.extend(ports.tasks()?);
    Ok(ServiceParts {
        name: NAME,
        routes: ports.routes(),
        services: GRPC_SERVICES.to_vec(),
        consumers,
        tasks,
    })
}
