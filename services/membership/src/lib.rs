//! Membership: people, and their roles and relations in each organization.
//!
//! Features in order: `accounts`, `delivery`, `notices`, `sign_in`; `member_records`; `sessions`,
//! `contact_changes`; `endings`, `orders`; `assignments`, `enrollments`, `guardianships`; `one_time_codes`;
//! `suspensions`, `duties`, `acting_heads`; `roles`; `departures`; `join_requests`, `admission`,
//! `appointments`; `names`, `members`; `service_accounts`; `revocations`; `roster_import`; `end_due`,
//! `notice_delivery`; `restored`. Each states its invariants. An account id is returned only to its own
//! person; each organization knows a person by a different id; contacts are never returned; an organization
//! keeps an administrator, unless the head removes the last one for a cause; a change, its event and its
//! effect on permissions are committed in one transaction.
mod accounts;
mod acting_heads;
mod admission;
mod appointments;
mod assembly;
mod assignments;
mod config;
mod contact_changes;
mod context;
mod delivery;
mod departures;
mod duties;
mod end_due;
mod endings;
mod enrollments;
mod error;
mod exceptions;
mod feed;
mod guardianships;
mod join_requests;
mod member_records;
mod members;
mod migrations;
mod names;
mod notice_delivery;
mod notices;
mod one_time_codes;
mod orders;
mod permissions;
mod restored;
mod revocations;
mod roles;
mod roster_import;
mod service_accounts;
mod sessions;
mod sign_in;
mod snapshot;
mod storage;
mod suspensions;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use parta_access::TokenIssuer;
use parta_runtime::{Service, ServiceContext, ServiceParts, Task};
use sea_orm_migration::MigrationTrait;

pub use exceptions::EXCEPTIONS;
pub use join_requests::refuse_requests_again;
pub use one_time_codes::delete_one_time_codes;
pub use permissions::permissions;
pub use restored::repeat_endings;
pub use roles::close_role_changes;
pub use service_accounts::revoke_all_service_account_keys;
pub use sessions::end_all_sessions;

use crate::{
    assembly::Ports,
    config::{Config, DeliveryKind},
};

const NAME: &str = "membership";
const TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// Between two removals of old revocations.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);
const GRPC_SERVICES: &[&str] = &[
    "parta.membership.v1.AuthenticationService",
    "parta.membership.v1.AccountService",
    "parta.membership.v1.AppointmentService",
    "parta.membership.v1.MemberService",
    "parta.membership.v1.AssignmentService",
    "parta.membership.v1.EnrollmentService",
    "parta.membership.v1.GuardianshipService",
    "parta.membership.v1.DutyService",
    "parta.membership.v1.RoleService",
    "parta.membership.v1.SuspensionService",
    "parta.membership.v1.JoinRequestService",
    "parta.membership.v1.ServiceAccountService",
    "parta.membership.v1.OneTimeCodeService",
    "parta.membership.v1.OperatorService",
    "parta.membership.v1.RosterImportService",
    "parta.membership.internal.v1.AdmissionService",
    "parta.membership.internal.v1.NameService",
    "parta.membership.internal.v1.RevocationService",
    "parta.membership.v1.MembershipFeedService",
    "parta.membership.v1.MembershipJobService",
    "parta.membership.v1.MembershipQuarantineService",
];

/// The definition of the service for the runtime.
pub const SERVICE: Service = Service {
    name: NAME,
    package: &parta_proto_membership::PACKAGE,
    calls: &[&parta_proto_org_registry::PACKAGE],
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
    if config.delivery == DeliveryKind::Outbox && !context.loopback_only {
        anyhow::bail!(
            "the development outbox is for a loopback address only: set membership.delivery to sms_gateway or smtp"
        );
    }
    anyhow::ensure!(
        !context.signing_keys.is_empty(),
        "membership has no key that signs tokens"
    );
    let (consumer, organizations) =
        assembly::organizations(&context.db, context.clients.watch("org-registry")?);
    let issuer = TokenIssuer::new(
        context.signing_keys.clone(),
        &context.issuer,
        TOKEN_LIFETIME,
        context.env.clone(),
    );
    let ports = Ports {
        config,
        db: context.db.clone(),
        organizations,
        secrets: context.secrets.clone(),
        verifier: context.verifier.clone(),
        issuer: Arc::new(issuer),
        draining: context.draining.clone(),
        progress: tokio::sync::watch::Sender::default(),
    };
    let mut tasks = parta_runtime::maintenance(context.service, &context.db, &context.bus);
    tasks.push(ports.jobs()?);
    tasks.push(Task::periodic(
        "membership.purge_revocations",
        PURGE_INTERVAL,
        context.db.clone(),
        |db, _| async move { revocations::purge(&db).await.map(drop) },
    ));
    tasks.push(Task::periodic(
        "membership.enqueue_overdue_endings",
        end_due::OVERDUE_CHECK_INTERVAL,
        context.db.clone(),
        |db, _| async move { end_due::enqueue_overdue(&db).await },
    ));
    tasks.extend(ports.purges());
    Ok(ServiceParts {
        name: NAME,
        routes: ports.routes(),
        services: GRPC_SERVICES.to_vec(),
        consumers: vec![consumer],
        tasks,
    })
}
