//! The registry of organizations.
//!
//! Features in order: `organizations` (data and the policies in force), `policies` (their changes, previewed
//! and confirmed), `units` (classes, groups, departments), `applications` (a signed order and the operator's
//! decision). Each states its invariants. An approval creates the organization, its staff room, their events
//! and the administrator's right in one transaction.

mod applications;
mod assembly;
mod config;
mod context;
mod error;
mod events;
mod feed;
mod migrations;
mod organizations;
mod permissions;
mod policies;
mod units;

#[cfg(test)]
mod tests;

use parta_runtime::{Service, ServiceContext, ServiceParts};
use sea_orm_migration::MigrationTrait;

use assembly::Ports;
use config::Config;

pub use permissions::permissions;

const NAME: &str = "org-registry";
const GRPC_SERVICES: &[&str] = &[
    "parta.org_registry.v1.ApplicationService",
    "parta.org_registry.v1.OrganizationService",
    "parta.org_registry.v1.PolicyService",
    "parta.org_registry.v1.UnitService",
    "parta.org_registry.v1.OrgRegistryFeedService",
    "parta.org_registry.v1.OrgRegistryJobService",
    "parta.org_registry.v1.OrgRegistryQuarantineService",
];

/// The definition of the service for the runtime.
pub const SERVICE: Service = Service {
    name: NAME,
    package: &parta_proto_org_registry::PACKAGE,
    calls: &[&parta_proto_membership::PACKAGE],
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
        db: context.db.clone(),
        roster,
        clients: context.clients.clone(),
        draining: context.draining.clone(),
        config,
    };
    Ok(ServiceParts {
        name: NAME,
        routes: ports.routes(),
        services: GRPC_SERVICES.to_vec(),
        consumers,
        tasks: assembly::tasks(&context, ports),
    })
}
