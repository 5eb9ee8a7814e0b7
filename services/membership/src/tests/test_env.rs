//! The service with the production middleware on its own database, and callers who join through its API.
mod acts;
mod operator;
mod sign_in;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures::TryStreamExt as _;
use parta_access::{Secrets, Verifier};
use parta_database::Db;
use parta_grpc::{InMemoryTransport, ServiceChannel};
use parta_ids::{ApplicationId, Env, InvitationId, MemberId, OrgId, UnitId};
use parta_proto::feed::v1::SnapshotRequest;
use parta_proto_membership::{
    internal::v1::{
        AdmitMemberRequest, AppointFoundingAdministratorRequest, GetRevocationsRequest,
        GetRevocationsResponse, admission_service_client::AdmissionServiceClient,
        revocation_service_client::RevocationServiceClient,
    },
    v1::{
        self as pb, account_service_client::AccountServiceClient,
        appointment_service_client::AppointmentServiceClient,
        assignment_service_client::AssignmentServiceClient,
        authentication_service_client::AuthenticationServiceClient, duty_service_client::DutyServiceClient,
        enrollment_service_client::EnrollmentServiceClient,
        guardianship_service_client::GuardianshipServiceClient,
        join_request_service_client::JoinRequestServiceClient, member_service_client::MemberServiceClient,
        membership_event::Payload, membership_feed_service_client::MembershipFeedServiceClient,
        one_time_code_service_client::OneTimeCodeServiceClient,
        operator_service_client::OperatorServiceClient, role_service_client::RoleServiceClient,
        roster_import_service_client::RosterImportServiceClient,
        service_account_service_client::ServiceAccountServiceClient,
        suspension_service_client::SuspensionServiceClient,
    },
};
use parta_proto_org_registry::v1::{
    OrganizationCreated, OrganizationKind, UnitCreated, UnitKind, org_registry_event::Payload as OrgRegistry,
};
pub(crate) use parta_service_testkit::reason;
use parta_service_testkit::{ServiceEnv, with_token};
use parta_testkit::{TestDatabase, Time};
use tonic::{Request, Status};

use crate::{
    GRPC_SERVICES, assembly::Ports, config::Config, migrations, roster_import::ClassCreatedObserver,
};

#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) account_id: String,
    pub(crate) session_id: String,
    pub(crate) refresh_token: String,
    pub(crate) token: String,
}

/// A member with a token of the organization.
#[derive(Clone)]
pub(crate) struct MemberSession {
    pub(crate) person: Person,
    pub(crate) member_id: String,
    pub(crate) token: String,
}

pub(crate) struct TestEnv {
    pub(crate) env: Env,
    pub(crate) time: Time,
    pub(crate) db: Db,
    pub(crate) test_env: ServiceEnv,
    pub(crate) transport: InMemoryTransport,
    pub(crate) ports: Ports,
    /// The proofs that VerifyCode returned, by the id of the flow.
    proofs: Mutex<HashMap<String, String>>,
    _database: TestDatabase,
}

macro_rules! clients {
    ($($name:ident: $client:ident),* $(,)?) => {
        $(pub(crate) fn $name(&self) -> $client<ServiceChannel> { $client::new(self.outside()) })*
    };
}

impl TestEnv {
    pub(crate) async fn open(database: TestDatabase) -> Self {
        // All callers without a network of their own share one, and the clock stands.
        let config = Config {
            codes_per_hour_of_network: 3_600_000,
            ..Config::default()
        };
        Self::open_with(database, config).await
    }

    pub(crate) async fn open_with(database: TestDatabase, config: Config) -> Self {
        let test_env = ServiceEnv::open(&database, "membership", migrations()).await;
        let test_env = test_env.observed_by(Arc::new(ClassCreatedObserver));
        let ports = Ports {
            config,
            db: test_env.db.clone(),
            organizations: parta_feed::Freshness::always("org-registry"),
            secrets: test_env.secrets.clone(),
            verifier: test_env.verifier.clone(),
            issuer: test_env.issuer.clone(),
            draining: test_env.stop.clone(),
            progress: tokio::sync::watch::Sender::default(),
        };
        let transport = test_env.serve(GRPC_SERVICES, ports.routes());
        let test_env = Self {
            env: test_env.env.clone(),
            time: test_env.time.clone(),
            db: test_env.db.clone(),
            test_env,
            transport,
            ports,
            proofs: Mutex::default(),
            _database: database,
        };
        test_env.create_schools().await;
        test_env
    }

    pub(crate) async fn close(self) {
        self.test_env.close().await;
    }

    /// Adds two organizations with two classes each and appoints their administrators.
    async fn create_schools(&self) {
        for (org, phone) in [(org(1), "+79160000001"), (org(2), "+79160000002")] {
            self.create_school(org, phone).await;
        }
    }

    /// Adds an organization with two classes and appoints its administrator.
    pub(crate) async fn create_school(&self, org: OrgId, phone: &str) {
        let created = OrganizationCreated {
            display_name: "Школа № 5".to_owned(),
            kind: OrganizationKind::General.into(),
            time_zone: "Europe/Moscow".to_owned(),
            policies: None,
        };
        self.test_env
            .apply_org_registry(org, OrgRegistry::OrganizationCreated(created))
            .await;
        for n in [1, 2] {
            let created = UnitCreated {
                unit_id: unit(n).to_string(),
                kind: UnitKind::Class.into(),
                label: format!("{n}А"),
                ..Default::default()
            };
            self.test_env
                .apply_org_registry(org, OrgRegistry::UnitCreated(created))
                .await;
        }
        self.appoint(org, phone).await;
    }

    /// Appoints the administrator of an organization.
    async fn appoint(&self, org: OrgId, phone: &str) {
        let channel = self
            .test_env
            .channel_of("org-registry", "membership", &self.transport);
        let request = AppointFoundingAdministratorRequest {
            request_id: self.act(),
            org_id: org.to_string(),
            application_id: self.env.id::<ApplicationId>().to_string(),
            phone: phone.to_owned(),
            full_name: "Анна Петрова".to_owned(),
            organization_display_name: "Школа № 5".to_owned(),
        };
        AdmissionServiceClient::new(channel)
            .appoint_founding_administrator(request)
            .await
            .unwrap();
    }

    /// A channel to another process of the service on the same database, which has not received the
    /// revocations.
    pub(crate) fn replica(&self) -> ServiceChannel {
        self.test_env.channel("membership", &self.other_process())
    }

    fn other_process(&self) -> InMemoryTransport {
        let ports = Ports {
            verifier: Arc::new(self.new_verifier()),
            ..self.ports.clone()
        };
        let layers = self.test_env.layers_of(ports.verifier.clone(), GRPC_SERVICES);
        self.test_env.serve_behind(layers, ports.routes())
    }

    /// A verifier that knows no revocations.
    pub(crate) fn new_verifier(&self) -> Verifier {
        self.test_env.new_verifier()
    }

    pub(crate) fn secrets(&self) -> Secrets {
        self.ports.secrets.clone()
    }

    /// The revocations that a service reads from another process, which has read none before.
    pub(crate) async fn revocations(
        &self,
        service: &str,
        known_revision: &str,
    ) -> Result<Vec<GetRevocationsResponse>, Status> {
        let channel = self
            .test_env
            .channel_of(service, "membership", &self.other_process());
        let request = GetRevocationsRequest {
            known_revision: known_revision.to_owned(),
        };
        let responses = RevocationServiceClient::new(channel)
            .get_revocations(request)
            .await?;
        responses.into_inner().try_collect().await
    }

    pub(crate) fn outside(&self) -> ServiceChannel {
        self.test_env.channel("membership", &self.transport)
    }

    clients! {
        authentication: AuthenticationServiceClient,
        accounts: AccountServiceClient,
        appointments: AppointmentServiceClient,
        members: MemberServiceClient,
        assignments: AssignmentServiceClient,
        enrollments: EnrollmentServiceClient,
        guardianships: GuardianshipServiceClient,
        join_requests: JoinRequestServiceClient,
        service_accounts: ServiceAccountServiceClient,
        duties: DutyServiceClient,
        roles: RoleServiceClient,
        suspensions: SuspensionServiceClient,
        one_time_codes: OneTimeCodeServiceClient,
        operator: OperatorServiceClient,
        roster_imports: RosterImportServiceClient,
    }

    /// A client of the internal API, which the invitation service calls.
    pub(crate) fn admission(&self) -> AdmissionServiceClient<ServiceChannel> {
        let channel = self
            .test_env
            .channel_of("invitation", "membership", &self.transport);
        AdmissionServiceClient::new(channel)
    }

    /// The members of an organization as the snapshot of the feed describes them.
    pub(crate) async fn snapshot(&self, org: OrgId) -> Vec<pb::MemberAdmitted> {
        let channel = self.test_env.channel_of("chat", "membership", &self.transport);
        let request = SnapshotRequest {
            org_id: org.to_string(),
        };
        let stream = MembershipFeedServiceClient::new(channel).snapshot(request).await;
        let responses: Vec<_> = stream.unwrap().into_inner().try_collect().await.unwrap();
        let payloads = responses
            .into_iter()
            .filter_map(|response| response.event?.payload);
        let admitted = payloads.filter_map(|payload| match payload {
            Payload::MemberAdmitted(admitted) => Some(admitted),
            _ => None,
        });
        admitted.collect()
    }

    pub(crate) fn act(&self) -> String {
        self.test_env.request_id()
    }

    pub(crate) async fn member_session(&self, org: OrgId, person: Person) -> Result<MemberSession, Status> {
        let request = pb::IssueOrganizationTokenRequest {
            org_id: org.to_string(),
        };
        let issued = self
            .authentication()
            .issue_organization_token(by(&person.token, request))
            .await?
            .into_inner();
        Ok(MemberSession {
            person,
            member_id: issued.member_id,
            token: issued.access_token,
        })
    }

    pub(crate) async fn claim(&self, person: &Person, org: OrgId) -> Result<pb::Member, Status> {
        let request = pb::ClaimAppointmentRequest {
            request_id: self.act(),
            org_id: org.to_string(),
        };
        let response = self
            .appointments()
            .claim_appointment(by(&person.token, request))
            .await?;
        Ok(response.into_inner().member.unwrap())
    }

    /// The administrator of the n-th school.
    pub(crate) async fn administrator(&self, n: u128) -> MemberSession {
        let person = self.newcomer(&format!("+7916000000{n}"), "Анна Петрова").await;
        self.claim(&person, org(n)).await.unwrap();
        self.member_session(org(n), person).await.unwrap()
    }

    /// Issues a join ticket and returns the join flow of a person and a link.
    pub(crate) async fn flow(&self, person: &Person, link: &str) -> String {
        let request = pb::CreateJoinTicketRequest {
            request_id: self.act(),
            invitation_token: link.to_owned(),
        };
        self.authentication()
            .create_join_ticket(by(&person.token, request))
            .await
            .unwrap()
            .into_inner()
            .flow_id
    }

    /// Creates an account and admits the person with an invitation.
    pub(crate) async fn join(
        &self,
        phone: &str,
        name: &str,
        role: pb::Role,
        change: impl FnOnce(&mut AdmitMemberRequest),
    ) -> MemberSession {
        let person = self.newcomer(phone, name).await;
        self.admit(person, phone, role, change).await
    }

    /// Admits a pupil of the n-th class.
    pub(crate) async fn join_pupil(&self, phone: &str, name: &str, n: u128) -> MemberSession {
        let in_class = |link: &mut AdmitMemberRequest| link.unit_id = unit(n).to_string();
        self.join(phone, name, pb::Role::Pupil, in_class).await
    }

    /// Admits a person with an invitation of this name.
    pub(crate) async fn admit(
        &self,
        person: Person,
        link: &str,
        role: pb::Role,
        change: impl FnOnce(&mut AdmitMemberRequest),
    ) -> MemberSession {
        let flow_id = self.flow(&person, link).await;
        let mut request = AdmitMemberRequest {
            request_id: self.act(),
            org_id: org(1).to_string(),
            invitation_id: self.env.id::<InvitationId>().to_string(),
            flow_id,
            role: role.into(),
            issuer_id: self.env.id::<MemberId>().to_string(),
            ..Default::default()
        };
        change(&mut request);
        self.admission().admit_member(request).await.unwrap();
        self.member_session(org(1), person).await.unwrap()
    }

    pub(crate) async fn verify_teacher(
        &self,
        by_whom: &MemberSession,
        member_id: &str,
    ) -> Result<pb::Member, Status> {
        let request = pb::VerifyTeacherRequest {
            request_id: self.act(),
            org_id: org(1).to_string(),
            member_id: member_id.to_owned(),
            evidence: "Приказ № 7".to_owned(),
        };
        Ok(self
            .members()
            .verify_teacher(by(&by_whom.token, request))
            .await?
            .into_inner()
            .member
            .unwrap())
    }

    /// Creates an assignment of a teacher.
    pub(crate) async fn assign(
        &self,
        by_whom: &MemberSession,
        member_id: &str,
        unit: UnitId,
        kind: pb::AssignmentKind,
    ) -> Result<String, Status> {
        let request = pb::CreateAssignmentRequest {
            request_id: self.act(),
            org_id: org(1).to_string(),
            member_id: member_id.to_owned(),
            unit_id: unit.to_string(),
            kind: kind.into(),
            expire_time: None,
            until_date: String::new(),
        };
        let made = self
            .assignments()
            .create_assignment(by(&by_whom.token, request))
            .await?
            .into_inner();
        Ok(made.assignment.unwrap().id)
    }

    pub(crate) async fn list(&self, caller: &MemberSession) -> Result<Vec<String>, Status> {
        let request = pb::ListMembersRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let members = self
            .members()
            .list_members(by(&caller.token, request))
            .await?
            .into_inner()
            .members;
        Ok(members.into_iter().map(|m| m.full_name).collect())
    }

    /// Sets columns of one row, bypassing the service.
    pub(crate) async fn change_row(&self, table: &str, assignments: &str, key: &str, id: parta_ids::Uuid) {
        self.test_env.change_row(table, assignments, key, id).await;
    }

    /// Runs the jobs that are due, and returns once each has ended or waits for its next attempt.
    pub(crate) async fn run_due_jobs(&self) {
        self.test_env
            .run_due_jobs(&self.ports.job_runner().unwrap())
            .await;
    }

    /// Runs each task that deletes old rows once.
    pub(crate) async fn purge(&self) {
        let stopped = tokio_util::sync::CancellationToken::new();
        stopped.cancel();
        for task in self.ports.purges() {
            task.run(stopped.clone()).await.unwrap();
        }
        parta_limits::purge(&self.db).await.unwrap();
    }

    pub(crate) fn minute(&self) {
        self.time.advance(chrono::TimeDelta::seconds(61));
    }
}

/// The organization with this number, 1 or 2.
pub(crate) fn org(n: u128) -> OrgId {
    use parta_ids::TypedId as _;
    OrgId::from_uuid(parta_ids::Uuid::from_u128(n))
}

/// The class with this number, 1 or 2.
pub(crate) fn unit(n: u128) -> UnitId {
    use parta_ids::TypedId as _;
    UnitId::from_uuid(parta_ids::Uuid::from_u128(100 + n))
}

pub(crate) fn by<T>(token: &str, message: T) -> Request<T> {
    with_token(message, token)
}
