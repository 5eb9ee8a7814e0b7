//! Membership: people, and their roles and relations in each organization.
//!
//! Features in order: `accounts`, `delivery`, `sign_in`; `member_records`; `sessions`; `assignments`,
//! `enrollments`, `guardianships`; `roles`; `departures`; `admission`, `appointments`; `members`;
//! `service_accounts`; `roster_import`. Each states its invariants. An account id is returned only to its own
//! person; each organization knows a person by a different id; contacts are never returned; an organization
//! always has an administrator; a change, its event and its effect on permissions are committed in one
//! transaction.
mod accounts;
mod admission;
mod appointments;
mod assignments;
mod config;
mod context;
mod delivery;
mod departures;
mod enrollments;
mod error;
mod exceptions;
mod feed;
mod guardianships;
mod member_records;
mod members;
mod migrations;
mod permissions;
mod roles;
mod roster_import;
mod service_accounts;
mod sessions;
mod sign_in;
mod storage;

use std::sync::Arc;

use parta_access::{Secrets, SigningKey, TokenIssuer, Verifier};
use parta_database::Db;
use parta_edge::Edge;
use parta_feed::{
    AtLeast, Consumer, FeedClient, FeedServer, Freshness, MembershipFeed, OrgRegistryFeed, Progress,
};
use parta_grpc::Routes;
use parta_ids::Env;
use parta_jobs::JobRunner;
use parta_proto::parta::membership::{
    internal::v1::admission_service_server::AdmissionServiceServer,
    v1::{
        appointment_service_server::AppointmentServiceServer,
        assignment_service_server::AssignmentServiceServer,
        authentication_service_server::AuthenticationServiceServer,
        enrollment_service_server::EnrollmentServiceServer,
        guardianship_service_server::GuardianshipServiceServer, member_service_server::MemberServiceServer,
        membership_feed_service_server::MembershipFeedServiceServer,
        operator_service_server::OperatorServiceServer,
        roster_import_service_server::RosterImportServiceServer,
        service_account_service_server::ServiceAccountServiceServer,
    },
};
use parta_roster::{ConsumerNames, Organizations, Roster};
use parta_runtime::{Service, ServiceContext, ServiceParts, Task};
use sea_orm_migration::MigrationTrait;
use tokio_util::sync::CancellationToken;

pub use config::{Config, DeliveryKind};
pub use exceptions::EXCEPTIONS;
pub use permissions::permissions;

use crate::{
    admission::Admission, appointments::Appointments, assignments::Assignments, context::Context,
    delivery::Operator, enrollments::Enrollments, guardianships::Guardianships, members::Members,
    roster_import::RosterImports, service_accounts::ServiceAccounts, sessions::Authentication,
};

const NAME: &str = "membership";
/// Full names of the gRPC services.
pub const GRPC_SERVICES: &[&str] = &[
    "parta.membership.v1.AuthenticationService",
    "parta.membership.v1.AppointmentService",
    "parta.membership.v1.MemberService",
    "parta.membership.v1.AssignmentService",
    "parta.membership.v1.EnrollmentService",
    "parta.membership.v1.GuardianshipService",
    "parta.membership.v1.ServiceAccountService",
    "parta.membership.v1.OperatorService",
    "parta.membership.v1.RosterImportService",
    "parta.membership.internal.v1.AdmissionService",
    "parta.membership.v1.MembershipFeedService",
];
/// The consumer of org-registry. The service itself writes the other half of the projection.
const NAMES: ConsumerNames = ConsumerNames {
    organizations: "membership.roster_organizations",
    members: "membership.roster_members",
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
    parta_runtime::migrations(migrations::migrations())
}

/// Creates the issuer of tokens from the keys of an installation, of which one signs. `issuer` is the claim
/// `iss`.
pub fn issuer(keys: Vec<SigningKey>, issuer: &str, env: &Env) -> TokenIssuer {
    TokenIssuer::new(keys, issuer, chrono::TimeDelta::minutes(10), env.clone())
}

async fn build(context: ServiceContext) -> anyhow::Result<ServiceParts> {
    let config: Config = context.config()?;
    if config.delivery == DeliveryKind::Outbox && !context.loopback_only {
        anyhow::bail!(
            "the development outbox is for a loopback address only: set membership.delivery to smtp"
        );
    }
    anyhow::ensure!(
        !context.signing_keys.is_empty(),
        "membership has no key that signs tokens"
    );
    let source = FeedClient::<OrgRegistryFeed, _>::new(context.clients.watch("org-registry")?);
    let handler = Organizations::new(Arc::new(roster_import::ClassesMade));
    let consumer = Consumer::new(NAMES.organizations, context.db.clone(), source, handler);
    let ports = Ports {
        config,
        db: context.db.clone(),
        organizations: consumer.freshness(),
        secrets: context.secrets.clone(),
        verifier: context.verifier.clone(),
        issuer: Arc::new(issuer(
            context.signing_keys.clone(),
            &context.issuer,
            &context.env,
        )),
        draining: context.draining.clone(),
        progress: tokio::sync::watch::Sender::default(),
    };
    let consumers = vec![Task::consumer(NAMES.organizations, consumer)];
    let (routes, tasks) = (ports.routes(), tasks(&context, &ports)?);
    Ok(ServiceParts {
        name: NAME,
        routes,
        services: GRPC_SERVICES.to_vec(),
        consumers,
        tasks,
    })
}

/// The dependencies of the service, provided by the runtime or by a test.
#[derive(Clone)]
pub struct Ports {
    /// The configuration of the service.
    pub config: Config,
    /// The service's own database, migrated.
    pub db: Db,
    /// The freshness of the organizations' half of the projection.
    pub organizations: Freshness,
    /// Keys derived for this service.
    pub secrets: Secrets,
    /// Verifies tokens. It receives the revocations of sessions and service accounts.
    pub verifier: Arc<Verifier>,
    /// Signs tokens.
    pub issuer: Arc<TokenIssuer>,
    /// Canceled when streams must end.
    pub draining: CancellationToken,
    /// Incremented when a roster import may have progressed.
    pub progress: tokio::sync::watch::Sender<u64>,
}

impl Ports {
    fn context(&self) -> Context {
        // The members' half is written in the transaction of each change, so that it is never stale.
        let members = Freshness::fixed(NAME, Progress::default());
        Context {
            db: self.db.clone(),
            roster: Roster::new(NAMES, self.db.env().clone(), self.organizations.clone(), members),
            organizations: self.organizations.clone(),
            consumer: NAMES.organizations,
            at_least: AtLeast::new(self.db.clone(), [self.organizations.clone()]),
            secrets: self.secrets.clone(),
            verifier: self.verifier.clone(),
            issuer: self.issuer.clone(),
            delivery: self.config.delivery,
            progress: self.progress.clone(),
        }
    }

    /// Runs the durable jobs: roster imports, and e-mails if codes are sent by SMTP.
    pub fn job_runner(&self) -> anyhow::Result<JobRunner> {
        let runner = roster_import::Runner(Arc::new(self.context()));
        let runner = JobRunner::new(self.db.clone()).handle(roster_import::JOB, Arc::new(runner));
        if self.config.delivery != DeliveryKind::Smtp {
            return Ok(runner);
        }
        let mailer = delivery::Mailer::new(&self.config, self.secrets.clone())?;
        Ok(runner.handle(delivery::MAIL_JOB, Arc::new(mailer)))
    }

    /// The servers of the service's API.
    pub fn routes(&self) -> Routes {
        let context = Arc::new(self.context());
        let edge = Edge::new(self.db.clone(), context.at_least.clone(), context.clone());
        let feed = FeedServer::<MembershipFeed>::new(self.db.clone(), self.draining.clone(), feed::snapshot);
        let imports = RosterImports::new(edge.clone(), context.clone());
        let authentication = Authentication::new(edge.clone(), context);
        let service_accounts = ServiceAccounts::new(edge.clone(), self.verifier.clone());
        Routes::new(AuthenticationServiceServer::new(authentication))
            .add_service(AppointmentServiceServer::new(Appointments::new(edge.clone())))
            .add_service(MemberServiceServer::new(Members::new(edge.clone())))
            .add_service(AssignmentServiceServer::new(Assignments::new(edge.clone())))
            .add_service(EnrollmentServiceServer::new(Enrollments::new(edge.clone())))
            .add_service(GuardianshipServiceServer::new(Guardianships::new(edge.clone())))
            .add_service(ServiceAccountServiceServer::new(service_accounts))
            .add_service(OperatorServiceServer::new(Operator::new(edge.clone())))
            .add_service(RosterImportServiceServer::new(imports))
            .add_service(AdmissionServiceServer::new(Admission::new(edge)))
            .add_service(MembershipFeedServiceServer::new(feed))
    }
}

fn tasks(context: &ServiceContext, ports: &Ports) -> anyhow::Result<Vec<Task>> {
    let mut tasks = parta_runtime::maintenance(context.service, &context.db, &context.bus);
    // The runner is built here too, so that a wrong configuration fails at startup.
    ports.job_runner()?;
    tasks.push(Task::over(
        "membership.jobs",
        ports.clone(),
        |ports, cancel| async move {
            ports.job_runner()?.run(cancel).await;
            Ok(())
        },
    ));
    Ok(tasks)
}
