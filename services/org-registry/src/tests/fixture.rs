//! The service under test with the production middleware, its own database, a fake membership service, and
//! callers.
use std::time::Duration;

use parta_access::ServiceAccountPermission;
use parta_database::Db;
use parta_feed::Freshness;
use parta_grpc::{InMemoryTransport, ServiceChannel};
use parta_ids::{Env, MemberId, OrgId, UnitId};
use parta_proto_membership::v1::{
    EnrollmentBegun, MemberAdmitted, MemberChanged, MemberState, Role, membership_event::Payload,
};
use parta_proto_org_registry::v1::{
    self as pb, SubmitApplicationRequest, application_service_client::ApplicationServiceClient,
    submit_application_request::Part,
};
use parta_roster::Roster;
use parta_service_testkit::ServiceEnv;
use parta_testkit::{TestDatabase, Time, dynamic, dynamic::DynamicClient};
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use tonic::{Request, Status};

use crate::{
    GRPC_SERVICES, Ports,
    assembly::roster_observer,
    config::Config,
    tests::membership::{self, Membership},
};

/// Indexes of the tables `audit_entry` and `job` in [`Fixture::rows`].
pub(crate) const AUDIT_ENTRIES: usize = 5;
pub(crate) const JOBS: usize = 6;

/// The `authorization` header of a caller; `None` for an anonymous caller.
pub(crate) type Credential = Option<String>;

pub(crate) struct Fixture {
    pub(crate) db: Db,
    pub(crate) env: Env,
    pub(crate) time: Time,
    pub(crate) membership: Membership,
    pub(crate) ports: Ports,
    pub(crate) operator: Credential,
    test_env: ServiceEnv,
    transport: InMemoryTransport,
    _database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn open(database: TestDatabase) -> Self {
        // All callers share one network, and the clock stands.
        let config = Config {
            applications_per_hour_of_network: 3_600_000,
            applications_per_hour: 3_600_000,
        };
        Self::open_with(database, config).await
    }

    pub(crate) async fn open_with(database: TestDatabase, config: Config) -> Self {
        let test_env = ServiceEnv::open(&database, "org-registry", crate::migrations()).await;
        let test_env = test_env.observed_by(roster_observer());
        let membership = Membership::default();
        let transport = test_env.serve(&[membership::NAME], membership.routes());
        let ports = Ports {
            db: test_env.db.clone(),
            roster: Roster::new(Freshness::always("org-registry"), Freshness::always("membership")),
            clients: test_env.clients([("membership", transport)]),
            draining: test_env.stop.clone(),
            config,
        };
        let transport = test_env.serve(GRPC_SERVICES, ports.routes());
        Self {
            db: test_env.db.clone(),
            env: test_env.env.clone(),
            time: test_env.time.clone(),
            membership,
            ports,
            operator: authorization(&test_env.operator_request(())),
            test_env,
            transport,
            _database: database,
        }
    }

    pub(crate) async fn close(self) {
        self.test_env.close().await;
    }

    fn channel(&self) -> ServiceChannel {
        self.test_env.channel("org-registry", &self.transport)
    }

    /// A new `request_id`.
    pub(crate) fn request_id(&self) -> String {
        self.test_env.request_id()
    }

    /// Calls `Service/Method`. Adds a new `request_id` if the RPC has the field and the body does not.
    pub(crate) async fn call(
        &self,
        credential: &Credential,
        rpc: &str,
        mut body: Value,
    ) -> Result<Value, Status> {
        let rpc = format!("parta.org_registry.v1.{rpc}");
        let has_request_id = dynamic::method(&rpc)
            .input()
            .get_field_by_name("request_id")
            .is_some();
        if has_request_id && body.get("request_id").is_none() {
            body["request_id"] = json!(self.request_id());
        }
        DynamicClient::new(self.channel())
            .call(&rpc, with_credential(credential, body))
            .await
    }

    pub(crate) async fn expect_success(&self, credential: &Credential, rpc: &str, body: Value) -> Value {
        let outcome = self.call(credential, rpc, body).await;
        outcome.unwrap_or_else(|status| panic!("{rpc}: {status:?}"))
    }

    /// Calls an RPC that is refused and returns the reason with the fields that it names.
    pub(crate) async fn expect_refusal(
        &self,
        credential: &Credential,
        rpc: &str,
        body: Value,
    ) -> (String, Vec<String>) {
        match self.call(credential, rpc, body).await {
            Ok(response) => panic!("{rpc} was not refused and returned {response}"),
            Err(status) => reason_and_fields(&status),
        }
    }

    /// Sends the messages of SubmitApplication unchanged.
    pub(crate) async fn send(
        &self,
        credential: &Credential,
        messages: Vec<SubmitApplicationRequest>,
    ) -> Result<pb::SubmitApplicationResponse, Status> {
        let mut client = ApplicationServiceClient::new(self.channel());
        let request = with_credential(credential, tokio_stream::iter(messages));
        Ok(client.submit_application(request).await?.into_inner())
    }

    /// Submits a form with a document as an applicant does, in messages of at most 64 KiB.
    pub(crate) async fn submit(
        &self,
        request_id: &str,
        form: pb::ApplicationForm,
        document: &[u8],
    ) -> Result<pb::SubmitApplicationResponse, Status> {
        let mut messages = vec![header(request_id, form)];
        messages.extend(document.chunks(64 * 1024).map(chunk));
        self.send(&None, messages).await
    }

    /// Submits a form from a network.
    pub(crate) async fn submit_from(
        &self,
        network: &str,
        request_id: String,
        form: pb::ApplicationForm,
    ) -> Result<pb::SubmitApplicationResponse, Status> {
        let messages = vec![header(&request_id, form), chunk(PDF)];
        let mut request = Request::new(tokio_stream::iter(messages));
        // A caller in this process is believed when it names an address.
        request
            .metadata_mut()
            .insert("x-forwarded-for", network.parse().unwrap());
        let mut client = ApplicationServiceClient::new(self.channel());
        Ok(client.submit_application(request).await?.into_inner())
    }

    pub(crate) async fn download(&self, application_id: &str) -> Vec<u8> {
        let request = pb::DownloadApplicationOrderRequest {
            application_id: application_id.to_owned(),
        };
        let mut client = ApplicationServiceClient::new(self.channel());
        let response = client
            .download_application_order(with_credential(&self.operator, request))
            .await;
        let mut stream = response.unwrap().into_inner();
        let mut order = Vec::new();
        while let Some(part) = stream.next().await {
            order.extend_from_slice(&part.unwrap().chunk);
        }
        order
    }

    /// Creates an organization by an application and its approval.
    pub(crate) async fn school(&self, number: u64) -> OrgId {
        self.organization(form(number)).await
    }

    pub(crate) async fn organization(&self, form: pb::ApplicationForm) -> OrgId {
        let made = self.submit(&self.request_id(), form, PDF).await.unwrap();
        let approve = json!({"application_id": made.application_id});
        let approved = self
            .expect_success(&self.operator, "ApplicationService/ApproveApplication", approve)
            .await;
        approved["organization"]["id"].as_str().unwrap().parse().unwrap()
    }

    /// Adds an active member to the roster and returns the caller.
    pub(crate) async fn member(&self, org: OrgId, role: Role, classes: &[UnitId]) -> Credential {
        self.admit(org, role, classes).await.1
    }

    /// Adds an active member to the roster and returns the id with the caller.
    pub(crate) async fn admit(&self, org: OrgId, role: Role, classes: &[UnitId]) -> (MemberId, Credential) {
        let member = self.env.id::<MemberId>();
        let admitted = MemberAdmitted {
            member_id: member.to_string(),
            state: MemberState::Active.into(),
            roles: vec![role.into()],
            teacher_verified: role == Role::Teacher,
            invitation_id: String::new(),
            ..Default::default()
        };
        self.apply(org, Payload::MemberAdmitted(admitted)).await;
        for unit in classes {
            let begun = EnrollmentBegun {
                enrollment_id: self.env.id::<parta_ids::EnrollmentId>().to_string(),
                member_id: member.to_string(),
                unit_id: unit.to_string(),
                begin_time: None,
            };
            self.apply(org, Payload::EnrollmentBegun(begun)).await;
        }
        let credential = authorization(&self.test_env.member_request(org, member, ()));
        (member, credential)
    }

    /// Changes the state and the only role of a member in the roster.
    pub(crate) async fn change(&self, org: OrgId, member: MemberId, state: MemberState, role: Role) {
        let changed = MemberChanged {
            member_id: member.to_string(),
            state: state.into(),
            roles: vec![role.into()],
            teacher_verified: false,
            ..Default::default()
        };
        self.apply(org, Payload::MemberChanged(changed)).await;
    }

    /// Returns the credential of a service account of an organization.
    pub(crate) fn service_account(&self, org: OrgId, permission: ServiceAccountPermission) -> Credential {
        authorization(&self.test_env.account_request(org, &[permission], ()))
    }

    pub(crate) async fn apply(&self, org: OrgId, payload: Payload) {
        self.test_env.apply_membership(org, payload).await;
    }

    /// Reads the first `count` events of an organization, with the names of their payloads.
    pub(crate) async fn events(&self, org: OrgId, count: usize) -> Vec<(String, Value)> {
        let channel = self.test_env.channel_of("chat", "org-registry", &self.transport);
        let rpc = "parta.org_registry.v1.OrgRegistryFeedService/Watch";
        let mut stream = DynamicClient::new(channel)
            .open(rpc, Request::new(json!({"org_id": org.to_string()})))
            .await
            .unwrap();
        let read = async {
            let mut events = Vec::new();
            while events.len() < count {
                let item = dynamic::json(&stream.next().await.unwrap().unwrap());
                let fields = item["event"].as_object().cloned().unwrap_or_default();
                let payload = fields.into_iter().find(|(_, value)| value.is_object());
                events.extend(payload);
            }
            events
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap()
    }

    pub(crate) async fn run_due_jobs(&self) {
        self.test_env.run_due_jobs(&self.ports.job_runner()).await;
    }

    /// Sets columns of one row, bypassing the service.
    pub(crate) async fn change_row(&self, table: &str, assignments: &str, key: &str, id: parta_ids::Uuid) {
        self.test_env.change_row(table, assignments, key, id).await;
    }

    /// Returns the number of rows of each table that a change writes.
    pub(crate) async fn rows(&self) -> Vec<i64> {
        let mut counts = Vec::new();
        for table in [
            "application",
            "application_chunk",
            "organization",
            "unit",
            "event",
            "audit_entry",
            "job",
            "policy_change",
        ] {
            counts.push(self.test_env.count_rows(table).await);
        }
        counts
    }
}

fn authorization<T>(request: &Request<T>) -> Credential {
    let value = request.metadata().get("authorization")?;
    Some(value.to_str().unwrap().to_owned())
}

fn with_credential<T>(credential: &Credential, body: T) -> Request<T> {
    let mut request = Request::new(body);
    if let Some(credential) = credential {
        request
            .metadata_mut()
            .insert("authorization", credential.parse().unwrap());
    }
    request
}

/// Returns the reason of a refusal and its invalid fields, sorted.
pub(crate) fn reason_and_fields(status: &Status) -> (String, Vec<String>) {
    let expect_refusal: Result<(), _> = Err(status.clone());
    (
        parta_service_testkit::reason(&expect_refusal),
        parta_service_testkit::fields(status),
    )
}

pub(crate) const PDF: &[u8] = b"%PDF-1.7\nan order\n%%EOF\n";

/// A valid form. Each number gives a different organization.
pub(crate) fn form(number: u64) -> pb::ApplicationForm {
    let first = 102_770_000_000 + number;
    pb::ApplicationForm {
        organization_name: format!("Школа № {number}"),
        kind: pb::OrganizationKind::General.into(),
        region: "Москва".to_owned(),
        ogrn: format!("{first}{}", first % 11 % 10),
        kpp: "770101001".to_owned(),
        time_zone: "Europe/Moscow".to_owned(),
        head_full_name: "Анна Петровна Орлова".to_owned(),
        administrator_full_name: "Иван Орлов".to_owned(),
        administrator_email: "orlov@school.example".to_owned(),
        administrator_phone: "8 (916) 000-00-01".to_owned(),
    }
}

pub(crate) fn header(request_id: &str, form: pb::ApplicationForm) -> SubmitApplicationRequest {
    SubmitApplicationRequest {
        request_id: request_id.to_owned(),
        part: Some(Part::Header(pb::SubmitApplicationHeader {
            form: Some(form),
            file_name: "приказ.pdf".to_owned(),
        })),
    }
}

pub(crate) fn chunk(bytes: &[u8]) -> SubmitApplicationRequest {
    SubmitApplicationRequest {
        request_id: String::new(),
        part: Some(Part::Chunk(bytes.to_vec().into())),
    }
}
