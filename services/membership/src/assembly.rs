//! Builds the servers and the background tasks of the service from its dependencies.
use std::sync::Arc;

use parta_access::{PermissionRule, Secrets, TokenIssuer, Verifier};
use parta_database::Db;
use parta_edge::Edge;
use parta_feed::{AtLeast, Consumer, FeedClient, FeedServer, Freshness};
use parta_grpc::{Routes, ServiceChannel};
use parta_jobs::JobRunner;
use parta_operations::{JobServer, QuarantineServer};
use parta_proto_membership::{
    MembershipFeed,
    internal::v1::{
        admission_service_server::AdmissionServiceServer, name_service_server::NameServiceServer,
        revocation_service_server::RevocationServiceServer,
    },
    v1::{
        account_service_server::AccountServiceServer, appointment_service_server::AppointmentServiceServer,
        assignment_service_server::AssignmentServiceServer,
        authentication_service_server::AuthenticationServiceServer, duty_service_server::DutyServiceServer,
        enrollment_service_server::EnrollmentServiceServer,
        guardianship_service_server::GuardianshipServiceServer,
        join_request_service_server::JoinRequestServiceServer, member_service_server::MemberServiceServer,
        membership_feed_service_server::MembershipFeedServiceServer,
        membership_job_service_server::MembershipJobServiceServer,
        membership_quarantine_service_server::MembershipQuarantineServiceServer,
        one_time_code_service_server::OneTimeCodeServiceServer,
        operator_service_server::OperatorServiceServer, role_service_server::RoleServiceServer,
        roster_import_service_server::RosterImportServiceServer,
        service_account_service_server::ServiceAccountServiceServer,
        suspension_service_server::SuspensionServiceServer,
    },
};
use parta_proto_org_registry::OrgRegistryFeed;
use parta_roster::{Organizations, Roster};
use parta_runtime::{PURGE_INTERVAL, Task};
use tokio_util::sync::CancellationToken;

use crate::{
    NAME,
    admission::{self, Admission},
    appointments::Appointments,
    assignments::Assignments,
    config::Config,
    contact_changes::{self, Accounts},
    context::Context,
    delivery::{self, Operator},
    duties::Duties,
    end_due, endings,
    enrollments::Enrollments,
    feed,
    guardianships::Guardianships,
    join_requests::{self, JoinRequests},
    members::Members,
    names::Names,
    notice_delivery::{self, DeliverNotice},
    notices,
    one_time_codes::{self, OneTimeCodes},
    revocations::{RevocationReader, Revocations},
    roles::{self, Roles},
    roster_import::{self, RosterImports},
    service_accounts::ServiceAccounts,
    sessions::{self, Authentication},
    sign_in, snapshot,
    suspensions::Suspensions,
};

/// The consumer of org-registry. The service itself writes the other half of the projection.
const CONSUMER: &str = "membership.roster_organizations";

/// Returns the consumer of the feed of org-registry, as a task, and its freshness.
pub(crate) fn organizations(db: &Db, org_registry: ServiceChannel) -> (Task, Freshness) {
    let source = FeedClient::<OrgRegistryFeed, _>::new(org_registry);
    let handler = Organizations::new(Arc::new(roster_import::ClassCreatedObserver));
    let consumer = Consumer::new(CONSUMER, db.clone(), source, handler);
    let freshness = consumer.freshness();
    (Task::consumer(CONSUMER, consumer), freshness)
}

/// The dependencies of the service, provided by the runtime or by a test.
#[derive(Clone)]
pub(crate) struct Ports {
    /// The configuration of the service.
    pub(crate) config: Config,
    /// The service's own database, migrated.
    pub(crate) db: Db,
    /// The freshness of the organizations' half of the projection.
    pub(crate) organizations: Freshness,
    /// Keys derived for this service.
    pub(crate) secrets: Secrets,
    /// Verifies tokens. It learns at once what this process revokes.
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) issuer: Arc<TokenIssuer>,
    /// Canceled when streams must end.
    pub(crate) draining: CancellationToken,
    /// Incremented when a roster import may have progressed.
    pub(crate) progress: tokio::sync::watch::Sender<u64>,
}

impl Ports {
    pub(crate) fn context(&self) -> Context {
        // The members' half is written in the transaction of each change, so that it is never stale.
        let members = Freshness::always(NAME);
        Context {
            db: self.db.clone(),
            roster: Roster::new(self.organizations.clone(), members),
            at_least: AtLeast::new(self.db.clone(), [self.organizations.clone()]),
            secrets: self.secrets.clone(),
            verifier: self.verifier.clone(),
            issuer: self.issuer.clone(),
            channels: self.config.channels(),
            budgets: self.config.budgets(),
            progress: self.progress.clone(),
        }
    }

    /// Runs the durable jobs: roster imports, endings that are due, notices, and one-time codes if they are
    /// sent.
    pub(crate) fn job_runner(&self) -> anyhow::Result<JobRunner> {
        let runner = roster_import::Runner(Arc::new(self.context()));
        let ending = end_due::EndDue(Arc::new(self.context()));
        let sender = delivery::Sender::new(&self.config, self.secrets.clone())?.map(Arc::new);
        let notice = DeliverNotice::new(Arc::new(self.context()), sender.clone());
        let runner = JobRunner::new(self.db.clone())
            .handle(roster_import::JOB, roster_import::JOB_LIMITS, Arc::new(runner))
            .handle(endings::JOB, end_due::JOB_LIMITS, Arc::new(ending))
            .handle(notices::JOB, notice_delivery::JOB_LIMITS, Arc::new(notice));
        let Some(sender) = sender else {
            return Ok(runner);
        };
        let codes = Arc::new(sign_in::SendCode::new(self.db.clone(), sender));
        Ok(delivery::SEND_JOBS.into_iter().fold(runner, |runner, kind| {
            runner.handle(kind, delivery::SEND_LIMITS, codes.clone())
        }))
    }

    /// The task that runs the durable jobs. A runner is built here too, so that a wrong configuration fails
    /// at startup.
    pub(crate) fn jobs(&self) -> anyhow::Result<Task> {
        self.job_runner()?;
        Ok(Task::over(
            "membership.jobs",
            self.clone(),
            |ports, cancel| async move {
                ports.job_runner()?.run(cancel).await;
                Ok(())
            },
        ))
    }

    /// The tasks that delete rows whose retention has passed. docs/operations/retention.md lists them.
    pub(crate) fn purges(&self) -> Vec<Task> {
        let db = || self.db.clone();
        vec![
            Task::periodic(
                "membership.purge_sign_in",
                PURGE_INTERVAL,
                db(),
                |db, _| async move { sign_in::purge(&db).await },
            ),
            Task::periodic(
                "membership.purge_contact_changes",
                PURGE_INTERVAL,
                db(),
                |db, _| async move { contact_changes::purge(&db).await },
            ),
            Task::periodic(
                "membership.purge_one_time_codes",
                PURGE_INTERVAL,
                db(),
                |db, _| async move { one_time_codes::purge(&db).await },
            ),
            Task::periodic(
                "membership.purge_sessions",
                PURGE_INTERVAL,
                db(),
                |db, _| async move { sessions::purge(&db).await },
            ),
            Task::periodic(
                "membership.purge_join_flows",
                PURGE_INTERVAL,
                db(),
                |db, _| async move { admission::purge(&db).await },
            ),
            Task::periodic(
                "membership.purge_join_requests",
                PURGE_INTERVAL,
                db(),
                |db, _| async move { join_requests::purge(&db).await },
            ),
            Task::periodic(
                "membership.purge_role_changes",
                PURGE_INTERVAL,
                db(),
                |db, _| async move { roles::purge(&db).await },
            ),
            Task::periodic(
                "membership.purge_outbox",
                PURGE_INTERVAL,
                db(),
                |db, _| async move { delivery::purge(&db).await },
            ),
            Task::periodic(
                "membership.purge_roster_imports",
                PURGE_INTERVAL,
                db(),
                |db, _| async move { roster_import::purge(&db).await },
            ),
        ]
    }

    /// The servers of the service's API.
    pub(crate) fn routes(&self) -> Routes {
        let context = Arc::new(self.context());
        let edge = Edge::new(self.db.clone(), context.at_least.clone(), context.clone());
        let feed =
            FeedServer::<MembershipFeed>::new(self.db.clone(), self.draining.clone(), snapshot::snapshot)
                .report_overdue(endings::list_overdue)
                .withhold(feed::is_withheld);
        let reader = Arc::new(RevocationReader::new(self.db.clone(), self.secrets.clone()));
        let imports = RosterImports::new(edge.clone(), context.clone());
        let accounts = Accounts::new(edge.clone(), context.clone());
        let one_time_codes = OneTimeCodes::new(edge.clone(), context.clone());
        let authentication = Authentication::new(edge.clone(), context);
        let service_accounts = ServiceAccounts::new(edge.clone(), self.verifier.clone());
        let jobs = JobServer::new(self.db.clone());
        let quarantines = QuarantineServer::new(self.db.clone());
        Routes::new(AuthenticationServiceServer::new(authentication))
            .add_service(AccountServiceServer::new(accounts))
            .add_service(AppointmentServiceServer::new(Appointments::new(edge.clone())))
            .add_service(MemberServiceServer::new(Members::new(edge.clone())))
            .add_service(AssignmentServiceServer::new(Assignments::new(edge.clone())))
            .add_service(EnrollmentServiceServer::new(Enrollments::new(edge.clone())))
            .add_service(GuardianshipServiceServer::new(Guardianships::new(edge.clone())))
            .add_service(DutyServiceServer::new(Duties::new(edge.clone())))
            .add_service(RoleServiceServer::new(Roles::new(edge.clone())))
            .add_service(JoinRequestServiceServer::new(JoinRequests::new(edge.clone())))
            .add_service(SuspensionServiceServer::new(Suspensions::new(edge.clone())))
            .add_service(ServiceAccountServiceServer::new(service_accounts))
            .add_service(OneTimeCodeServiceServer::new(one_time_codes))
            .add_service(OperatorServiceServer::new(Operator::new(edge.clone())))
            .add_service(RosterImportServiceServer::new(imports))
            .add_service(AdmissionServiceServer::new(Admission::new(edge.clone())))
            .add_service(NameServiceServer::new(Names::new(edge.clone())))
            .add_service(RevocationServiceServer::new(Revocations::new(edge, reader)))
            .add_service(MembershipFeedServiceServer::new(feed))
            .add_service(MembershipJobServiceServer::new(jobs))
            .add_service(MembershipQuarantineServiceServer::new(quarantines))
    }
}

/// The rows of the permission matrix of the gRPC services that every service serves alike.
pub(crate) fn common_rules() -> Vec<PermissionRule> {
    parta_operations::common_rules::<MembershipFeed>(parta_proto_membership::OPERATOR_RPCS)
}
