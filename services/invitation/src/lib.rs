//! Invitations: the only way into an organization.
//!
//! Features in order: `invitations` (links), `acceptance` (a person joins with a link), `lineage` (who joined
//! with which link). Each states its invariants. A link of N uses admits at most N people, under any
//! concurrency and across crashes; no secret is stored or published.
mod acceptance;
mod assembly;
mod config;
mod context;
mod error;
mod feed;
mod grpc;
mod invitations;
mod lineage;
mod migrations;
mod permissions;

#[cfg(test)]
mod tests;

use parta_runtime::{Service, ServiceContext, ServiceParts};
use sea_orm_migration::MigrationTrait;

use assembly::Ports;
use config::Config;

pub use acceptance::list_refused_requests;
pub use invitations::{end_revoked_again, revoke_open_links};
pub use permissions::permissions;

const NAME: &str = "invitation";
const GRPC_SERVICES: &[&str] = &[
    "parta.invitation.v1.InvitationService",
    "parta.invitation.v1.InvitationFeedService",
    "parta.invitation.v1.InvitationJobService",
    "parta.invitation.v1.InvitationQuarantineService",
];

/// The definition of the service for the runtime.
pub const SERVICE: Service = Service {
    name: NAME,
    package: &parta_proto_invitation::PACKAGE,
    calls: &[
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
        clients: context.clients.clone(),
        draining: context.draining.clone(),
    };
    Ok(ServiceParts {
        name: NAME,
        routes: ports.routes(),
        services: GRPC_SERVICES.to_vec(),
        consumers,
        tasks: assembly::tasks(&context, ports),
    })
}
