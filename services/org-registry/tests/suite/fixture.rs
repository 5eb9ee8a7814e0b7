//! The registry behind its real layers on a database of its own, the membership that it calls, and callers.
use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use parta_access::{
    AccessRules, JwkSource, KeyPair, OperatorCredential, Secrets, ServiceIdentity, ServiceKeys, SigningKey,
    TokenIssuer, Verifier,
};
use parta_feed::{Freshness, HandleError, Handler as _, Progress};
use parta_grpc::{
    Authenticator, ClientBuilder, InMemoryTransport, Limits, Routes, ServiceChannel, ServiceClients, Target,
    layers,
    server::{ServeOptions, serve},
};
use parta_ids::{Env, EventId, MemberId, OrgId, ServiceAccountId, UnitId};
use parta_org_registry::{GRPC_SERVICES, NAMES, Ports};
use parta_proto::parta::{
    membership::v1::{
        EnrollmentBegun, MemberAdmitted, MemberChanged, MemberState, MembershipEvent, Role,
        membership_event::Payload as Said,
    },
    org_registry::v1::{
        self as pb, SubmitApplicationRequest, application_service_client::ApplicationServiceClient,
        submit_application_request::Part,
    },
};
use parta_roster::{Members, Roster};
use parta_status::RpcError;
use parta_storage::{DatabaseConfig, Db};
use parta_testkit::{TestDatabase, Time, dynamic, dynamic::DynamicClient};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Status};

use crate::membership::{self, Membership};

/// Who calls: the value of `authorization`; nobody without one.
pub type Who = Option<String>;

pub struct Fixture {
    pub db: Db,
    pub env: Env,
    pub time: Time,
    pub membership: Membership,
    pub ports: Ports,
    pub operator: Who,
    pub stop: CancellationToken,
    pub tracker: TaskTracker,
    pipe: InMemoryTransport,
    issuer: TokenIssuer,
    chat: Arc<ServiceIdentity>,
    _database: TestDatabase,
}

impl Fixture {
    pub async fn open(database: TestDatabase) -> Self {
        let (env, time) = parta_testkit::env();
        let (secrets, config) = (Secrets::new([7; 32]), DatabaseConfig::new(database.url()));
        let db = Db::connect(&config, "org-registry", secrets, env.clone())
            .await
            .unwrap();
        db.migrate(parta_org_registry::migrations()).await.unwrap();
        let hour = TimeDelta::hours(1);
        let signing = SigningKey {
            kid: "one".to_owned(),
            pair: KeyPair::generate(&env).unwrap(),
            publish_time: env.now() - hour,
            sign_from: env.now() - hour,
            retire_time: None,
        };
        let issuer = TokenIssuer::new(vec![signing], "test", TimeDelta::minutes(10), env.clone());
        let source = JwkSource::shared();
        source.set(&issuer.jwks(), env.now());
        let (key, operator) = operator();
        let pairs = ["org-registry", "chat"].map(|name| (name, KeyPair::generate(&env).unwrap()));
        let keys = ServiceKeys::new(pairs.iter().map(|(n, p)| (*n, p.public())), env.clone()).unwrap();
        let (services, verifier) = (
            Arc::new(keys),
            Arc::new(Verifier::new(source, "test", env.clone())),
        );
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let serve = |names: &[&str], routes: Routes| {
            let authenticator = Authenticator {
                access: AccessRules::load(names).unwrap(),
                verifier: verifier.clone(),
                services: services.clone(),
                operators: vec![(
                    "operator".to_owned(),
                    OperatorCredential::from_text(&key).unwrap(),
                )],
            };
            let stack = layers(&env, Arc::new(authenticator), Limits::default(), stop.clone());
            let (pipe, incoming) = InMemoryTransport::pair();
            let end = stop.clone().cancelled_owned();
            tracker.spawn(async move { serve(incoming, routes, stack, ServeOptions::default(), end).await });
            pipe
        };
        let identity = |which: usize| {
            let (name, pair) = &pairs[which];
            ServiceIdentity::new(*name, pair, env.clone()).unwrap()
        };
        let membership = Membership::default();
        let pipe = serve(&[membership::NAME], membership.routes());
        let builder = ClientBuilder::new(env.clone()).identity(Arc::new(identity(0)));
        let peers =
            ServiceClients::connect(&builder, [("membership".to_owned(), Target::Memory(pipe))]).unwrap();
        let fresh = Progress {
            cursor: None,
            checkpoint: Some(Instant::now()),
        };
        let freshness = Freshness::fixed("membership", fresh);
        let ports = Ports {
            db: db.clone(),
            roster: Roster::within_org_registry(NAMES, env.clone(), freshness),
            peers,
            draining: stop.clone(),
        };
        let pipe = serve(GRPC_SERVICES, ports.routes());
        Self {
            chat: Arc::new(identity(1)),
            _database: database,
            db,
            env,
            time,
            membership,
            ports,
            operator,
            stop,
            tracker,
            pipe,
            issuer,
        }
    }

    pub async fn close(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.db.close().await;
    }

    fn channel(&self) -> ServiceChannel {
        let builder = ClientBuilder::new(self.env.clone());
        builder
            .channel("org-registry", Target::Memory(self.pipe.clone()))
            .unwrap()
    }

    /// A new `request_id`.
    pub fn act(&self) -> String {
        self.env.ids.uuid().to_string()
    }

    /// Calls `Service/Method`; a `request_id` is made where the RPC takes one and none is given.
    pub async fn call(&self, who: &Who, rpc: &str, mut body: Value) -> Result<Value, Status> {
        let rpc = format!("parta.org_registry.v1.{rpc}");
        let takes = dynamic::method(&rpc)
            .input()
            .get_field_by_name("request_id")
            .is_some();
        if takes && body.get("request_id").is_none() {
            body["request_id"] = json!(self.act());
        }
        DynamicClient::new(self.channel())
            .call(&rpc, with(who, body))
            .await
    }

    pub async fn must(&self, who: &Who, rpc: &str, body: Value) -> Value {
        let outcome = self.call(who, rpc, body).await;
        outcome.unwrap_or_else(|status| panic!("{rpc}: {status:?}"))
    }

    /// The reason of a refusal, with the fields it names.
    pub async fn refused(&self, who: &Who, rpc: &str, body: Value) -> (String, Vec<String>) {
        match self.call(who, rpc, body).await {
            Ok(answer) => panic!("{rpc} was not refused but answered {answer}"),
            Err(status) => why(&status),
        }
    }

    /// Hands in messages as they are.
    pub async fn send(
        &self,
        who: &Who,
        messages: Vec<SubmitApplicationRequest>,
    ) -> Result<pb::SubmitApplicationResponse, Status> {
        let mut client = ApplicationServiceClient::new(self.channel());
        let request = with(who, tokio_stream::iter(messages));
        Ok(client.submit_application(request).await?.into_inner())
    }

    /// Hands in a form with a document as an applicant does, in messages of at most 64 KiB.
    pub async fn submit(
        &self,
        request_id: &str,
        form: pb::ApplicationForm,
        document: &[u8],
    ) -> Result<pb::SubmitApplicationResponse, Status> {
        let mut messages = vec![header(request_id, form)];
        messages.extend(document.chunks(64 * 1024).map(chunk));
        self.send(&None, messages).await
    }

    /// The order of an application as it is streamed.
    pub async fn download(&self, application_id: &str) -> Vec<u8> {
        let request = pb::DownloadApplicationOrderRequest {
            application_id: application_id.to_owned(),
        };
        let mut client = ApplicationServiceClient::new(self.channel());
        let answer = client
            .download_application_order(with(&self.operator, request))
            .await;
        let mut stream = answer.unwrap().into_inner();
        let mut order = Vec::new();
        while let Some(part) = stream.next().await {
            order.extend_from_slice(&part.unwrap().chunk);
        }
        order
    }

    /// An organization that was applied for and approved.
    pub async fn school(&self, number: u64) -> OrgId {
        self.organization(form(number)).await
    }

    pub async fn organization(&self, form: pb::ApplicationForm) -> OrgId {
        let made = self.submit(&self.act(), form, PDF).await.unwrap();
        let approve = json!({"application_id": made.application_id});
        let approved = self
            .must(&self.operator, "ApplicationService/ApproveApplication", approve)
            .await;
        approved["organization"]["id"].as_str().unwrap().parse().unwrap()
    }

    /// Somebody of whom the roster hears that they are an active member.
    pub async fn member(&self, org: OrgId, role: Role, classes: &[UnitId]) -> Who {
        self.admit(org, role, classes).await.1
    }

    /// An active member and the token of the member.
    pub async fn admit(&self, org: OrgId, role: Role, classes: &[UnitId]) -> (MemberId, Who) {
        let member = self.env.id::<MemberId>();
        let admitted = MemberAdmitted {
            member_id: member.to_string(),
            state: MemberState::Active.into(),
            roles: vec![role.into()],
            teacher_verified: role == Role::Teacher,
            invitation_id: String::new(),
        };
        self.hear(org, Said::MemberAdmitted(admitted)).await;
        for unit in classes {
            let begun = EnrollmentBegun {
                enrollment_id: self.env.id::<parta_ids::EnrollmentId>().to_string(),
                member_id: member.to_string(),
                unit_id: unit.to_string(),
            };
            self.hear(org, Said::EnrollmentBegun(begun)).await;
        }
        let token = self.issuer.person(org, member, self.env.id()).unwrap();
        (member, bearer(&token.text))
    }

    /// The roster learns the member's present state and only role.
    pub async fn change(&self, org: OrgId, member: MemberId, state: MemberState, role: Role) {
        let changed = MemberChanged {
            member_id: member.to_string(),
            state: state.into(),
            roles: vec![role.into()],
            teacher_verified: false,
        };
        self.hear(org, Said::MemberChanged(changed)).await;
    }

    /// An external system of an organization.
    pub fn system(&self, org: OrgId, permission: &str) -> Who {
        let id = self.env.id::<ServiceAccountId>();
        let token = self.issuer.service_account(org, id, vec![permission.to_owned()]);
        bearer(&token.unwrap().text)
    }

    pub async fn hear(&self, org: OrgId, said: Said) {
        let event = MembershipEvent {
            event_id: self.env.id::<EventId>().to_string(),
            org_id: org.to_string(),
            payload: Some(said),
            ..Default::default()
        };
        let (event, members) = (&event, &Members::new(parta_org_registry::roster_observer()));
        self.db
            .write(|tx| async move { members.apply(&tx, event).await })
            .await
            .map_err(|e: HandleError| e)
            .unwrap();
    }

    /// The first so many events of the feed, by the names of their payloads.
    pub async fn events(&self, count: usize) -> Vec<(String, Value)> {
        let builder = ClientBuilder::new(self.env.clone()).identity(self.chat.clone());
        let channel = builder
            .channel("org-registry", Target::Memory(self.pipe.clone()))
            .unwrap();
        let rpc = "parta.org_registry.v1.OrgRegistryFeedService/Watch";
        let mut stream = DynamicClient::new(channel)
            .open(rpc, Request::new(json!({})))
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

    /// How many rows stand in each table that a change writes.
    pub async fn rows(&self) -> Vec<i64> {
        let mut counts = Vec::new();
        for table in [
            "application",
            "application_chunk",
            "organization",
            "unit",
            "event",
            "audit_entry",
            "job",
        ] {
            let sql = format!("SELECT COUNT(*) AS n FROM {table}");
            let statement = Statement::from_string(self.db.backend(), sql);
            let row = self.db.conn().query_one_raw(statement).await.unwrap().unwrap();
            counts.push(row.try_get::<i64>("", "n").unwrap());
        }
        counts
    }
}

fn operator() -> (String, Who) {
    use secrecy::ExposeSecret as _;
    let (text, _) = OperatorCredential::generate(&Env::system());
    let text = text.expose_secret().to_owned();
    (text.clone(), bearer(&text))
}

fn bearer(token: &str) -> Who {
    Some(format!("Bearer {token}"))
}

fn with<T>(who: &Who, body: T) -> Request<T> {
    let mut request = Request::new(body);
    if let Some(credential) = who {
        request
            .metadata_mut()
            .insert("authorization", credential.parse().unwrap());
    }
    request
}

/// The reason of a refusal and the fields that it names, sorted.
pub fn why(status: &Status) -> (String, Vec<String>) {
    let refusal = RpcError::from_status(status).unwrap_or_else(|| panic!("{status:?}"));
    let mut fields: Vec<_> = refusal.fields().iter().map(|(path, _)| path.clone()).collect();
    fields.sort();
    fields.dedup();
    (refusal.reason().to_owned(), fields)
}

pub const PDF: &[u8] = b"%PDF-1.7\nan order\n%%EOF\n";

/// A form that is right; each number is another organization.
pub fn form(number: u64) -> pb::ApplicationForm {
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

pub fn header(request_id: &str, form: pb::ApplicationForm) -> SubmitApplicationRequest {
    SubmitApplicationRequest {
        request_id: request_id.to_owned(),
        part: Some(Part::Header(pb::SubmitApplicationHeader {
            form: Some(form),
            file_name: "приказ.pdf".to_owned(),
        })),
    }
}

pub fn chunk(bytes: &[u8]) -> SubmitApplicationRequest {
    SubmitApplicationRequest {
        request_id: String::new(),
        part: Some(Part::Chunk(bytes.to_vec().into())),
    }
}
