use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use parta_access::{
    AccessRules, JwkSource, KeyPair, LinkDigest, OperatorCredential, Secrets, ServiceAccountPermission,
    ServiceIdentity, ServiceKeys, SigningKey, TokenIssuer, Verifier,
};
use parta_database::{DatabaseConfig, Db, StorageError, Tx};
use parta_feed::{Freshness, Handler as _};
use parta_grpc::{
    Authenticator, ClientBuilder, InMemoryTransport, Limits, Methods, Routes, ServerLayers, ServiceChannel,
    ServiceClients, Target, layers,
    server::{ServeOptions, TrustedProxies, serve},
};
use parta_ids::{Env, EventId, FlowId, MemberId, OrgId, ServiceAccountId, SessionId, Uuid};
use parta_jobs::JobRunner;
use parta_proto_all::PACKAGES;
use parta_proto_membership::v1::{MembershipEvent, membership_event::Payload as MembershipPayload};
use parta_proto_org_registry::v1::{OrgRegistryEvent, org_registry_event::Payload as OrgRegistryPayload};
use parta_roster::{Members, NoObserver, Organizations, Roster, RosterObserver};
use parta_status::RpcError;
use parta_testkit::{TestDatabase, Time};
use sea_orm::{ConnectionTrait as _, Statement};
use sea_orm_migration::MigrationTrait;
use secrecy::ExposeSecret as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Status};

use crate::history::Batch;

/// The services that may call each other.
const SERVICES: [&str; 5] = [
    "org-registry",
    "membership",
    "invitation",
    "chat",
    "call-scheduling",
];

/// The issuer of the tokens.
const ISSUER: &str = "test";

/// The name of the operator whose credential the server accepts.
pub const OPERATOR: &str = "operator";

/// The database of one service, and everything that is needed to call the service and to let it call others.
pub struct ServiceEnv {
    /// The clock and the id source of the service.
    pub env: Env,
    /// Sets the clock of [`ServiceEnv::env`]. Has no effect after [`ServiceEnv::open_in_real_time`].
    pub time: Time,
    /// The database, migrated.
    pub db: Db,
    /// The secrets of the service.
    pub secrets: Secrets,
    /// Verifies the tokens of [`ServiceEnv::issuer`].
    pub verifier: Arc<Verifier>,
    /// Issues the tokens of callers.
    pub issuer: Arc<TokenIssuer>,
    /// Canceled when the servers end.
    pub stop: CancellationToken,
    /// Runs the servers and the tasks of the test.
    pub tracker: TaskTracker,
    service: &'static str,
    source: JwkSource,
    pairs: BTreeMap<&'static str, KeyPair>,
    services: Arc<ServiceKeys>,
    operator: String,
    observer: Arc<dyn RosterObserver>,
}

impl ServiceEnv {
    /// Connects to the database and migrates it. The clock is set to Tuesday, 2026-09-01, 08:00 UTC, until
    /// the test changes it.
    pub async fn open(
        database: &TestDatabase,
        service: &'static str,
        migrations: Vec<Box<dyn MigrationTrait>>,
    ) -> Self {
        let (env, time) = parta_testkit::env();
        Self::open_with(database, service, migrations, env, time).await
    }

    /// Like [`ServiceEnv::open`], but with the system clock, for tests with real I/O.
    pub async fn open_in_real_time(
        database: &TestDatabase,
        service: &'static str,
        migrations: Vec<Box<dyn MigrationTrait>>,
    ) -> Self {
        let (_, time) = parta_testkit::env();
        Self::open_with(database, service, migrations, Env::system(), time).await
    }

    async fn open_with(
        database: &TestDatabase,
        service: &'static str,
        migrations: Vec<Box<dyn MigrationTrait>>,
        env: Env,
        time: Time,
    ) -> Self {
        let secrets = Secrets::new([7; 32]);
        let db = connect(database, service, &secrets, &env).await;
        db.migrate(migrations).await.expect("migrations");
        let now = env.now() - TimeDelta::hours(1);
        let pair = || KeyPair::generate(&env).expect("a key pair");
        let issuer = TokenIssuer::new(
            vec![SigningKey::first(pair(), now)],
            ISSUER,
            TimeDelta::minutes(10),
            env.clone(),
        );
        let source = JwkSource::shared();
        source.set(&issuer.jwks(), env.now());
        let verifier = Arc::new(Verifier::new(source.clone(), ISSUER, env.clone()));
        let pairs: BTreeMap<_, _> = SERVICES.into_iter().map(|name| (name, pair())).collect();
        let public = pairs.iter().map(|(name, pair)| (*name, pair.public()));
        let services = Arc::new(ServiceKeys::new(public, env.clone()).expect("keys of services"));
        let (operator, _) = OperatorCredential::generate(&env);
        let operator = operator.expose_secret().to_owned();
        Self {
            env,
            time,
            db,
            secrets,
            verifier,
            issuer: Arc::new(issuer),
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
            service,
            source,
            pairs,
            services,
            operator,
            observer: Arc::new(NoObserver),
        }
    }

    /// Calls `observer` with every change of the roster that the test applies.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn RosterObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Stops the servers, waits for every task and closes the database.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.db.close().await;
    }

    /// Opens another database for the same env, for example that of a feed's service or of a second replica.
    pub async fn connect(&self, database: &TestDatabase, service: &'static str) -> Db {
        connect(database, service, &self.secrets, &self.env).await
    }

    /// The roster over the service's database. It holds what the test applies and is never stale.
    pub fn roster(&self) -> Roster {
        Roster::new(Freshness::always("org-registry"), Freshness::always("membership"))
    }

    /// A verifier that has not learned of revocations, for a second process of the service.
    pub fn new_verifier(&self) -> Verifier {
        Verifier::new(self.source.clone(), ISSUER, self.env.clone())
    }

    /// The layers of a server of these gRPC services.
    pub fn layers(&self, grpc_services: &[&str], limits: Limits) -> ServerLayers {
        let authenticator = self.authenticator(self.verifier.clone(), grpc_services);
        layers(
            &self.env,
            Methods::of(PACKAGES),
            authenticator,
            limits,
            self.stop.clone(),
        )
    }

    /// The layers of a second process of the service, which has its own verifier.
    pub fn layers_of(&self, verifier: Arc<Verifier>, grpc_services: &[&str]) -> ServerLayers {
        let authenticator = self.authenticator(verifier, grpc_services);
        layers(
            &self.env,
            Methods::of(PACKAGES),
            authenticator,
            Limits::default(),
            self.stop.clone(),
        )
    }

    fn authenticator(&self, verifier: Arc<Verifier>, grpc_services: &[&str]) -> Arc<Authenticator> {
        let pool = parta_proto_all::descriptor_pool().expect("the descriptors");
        let credential = OperatorCredential::from_text(&self.operator).expect("an operator's credential");
        Arc::new(Authenticator {
            access: AccessRules::load(pool, grpc_services).expect("access rules"),
            verifier,
            services: self.services.clone(),
            operators: vec![(OPERATOR.to_owned(), credential)],
            proxies: TrustedProxies::default(),
        })
    }

    /// Serves routes behind the real layers, over an in-memory transport.
    pub fn serve(&self, grpc_services: &[&str], routes: Routes) -> InMemoryTransport {
        self.serve_behind(self.layers(grpc_services, Limits::default()), routes)
    }

    /// Like [`ServiceEnv::serve`], with other layers.
    pub fn serve_behind(&self, layers: ServerLayers, routes: Routes) -> InMemoryTransport {
        let (transport, incoming) = InMemoryTransport::pair();
        let ended = self.stop.clone().cancelled_owned();
        self.tracker.spawn(async move {
            serve(incoming, routes, layers, ServeOptions::default(), ended).await;
        });
        transport
    }

    fn client(&self, identity: Option<&str>) -> ClientBuilder {
        let builder = ClientBuilder::new(self.env.clone(), PACKAGES);
        let Some(name) = identity else {
            return builder;
        };
        let pair = self.pairs.get(name).expect("the name of a service");
        let identity = ServiceIdentity::new(name, pair, self.env.clone()).expect("an identity");
        builder.identity(Arc::new(identity))
    }

    /// Returns a channel of a client.
    pub fn channel(&self, service: &str, transport: &InMemoryTransport) -> ServiceChannel {
        self.client(None)
            .channel(service, Target::Memory(transport.clone()))
            .expect("a channel")
    }

    /// Returns a channel that authenticates as the service with the name `caller`.
    pub fn channel_of(&self, caller: &str, service: &str, transport: &InMemoryTransport) -> ServiceChannel {
        self.client(Some(caller))
            .channel(service, Target::Memory(transport.clone()))
            .expect("a channel")
    }

    /// Returns the channels with which the service under test calls other services.
    pub fn clients<'a>(
        &self,
        services: impl IntoIterator<Item = (&'a str, InMemoryTransport)>,
    ) -> ServiceClients {
        let targets = services
            .into_iter()
            .map(|(name, transport)| (name.to_owned(), Target::Memory(transport)));
        ServiceClients::connect(&self.client(Some(self.service)), targets).expect("clients")
    }

    /// Returns a new `request_id`.
    pub fn request_id(&self) -> String {
        self.env.ids.uuid().to_string()
    }

    /// Returns a token of a member with a new session.
    pub fn member_token(&self, org: OrgId, member: MemberId) -> String {
        let session = self.env.id::<SessionId>();
        let token = self.issuer.person(org, member, session).expect("a token");
        token.text
    }

    /// Returns a request of a member.
    pub fn member_request<T>(&self, org: OrgId, member: MemberId, message: T) -> Request<T> {
        with_token(message, &self.member_token(org, member))
    }

    /// Returns a request of a person who accepts an invitation.
    pub fn joiner_request<T>(&self, flow: FlowId, link: &str, message: T) -> Request<T> {
        let ticket = self.issuer.joiner(flow, LinkDigest::of(link), self.env.id());
        with_token(message, &ticket.expect("a token").text)
    }

    /// Returns a request of a service account with these permissions.
    pub fn account_request<T>(
        &self,
        org: OrgId,
        permissions: &[ServiceAccountPermission],
        message: T,
    ) -> Request<T> {
        let id = self.env.id::<ServiceAccountId>();
        let permissions = permissions.iter().copied();
        let token = self.issuer.service_account(org, id, self.env.id(), permissions);
        with_token(message, &token.expect("a token").text)
    }

    /// Returns a request of the operator.
    pub fn operator_request<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.operator)
    }

    /// Sets columns of the row whose `key` column has this id, bypassing the service. Fails if not exactly
    /// one row matches.
    pub async fn change_row(&self, table: &str, assignments: &str, key: &str, id: Uuid) {
        let sql = &format!("UPDATE {table} SET {assignments} WHERE {key} = $1");
        let change = |tx: Tx| async move {
            let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, [id.into()]);
            let done = tx.execute_raw(statement).await?;
            assert_eq!(done.rows_affected(), 1, "{sql}");
            Ok::<_, StorageError>(())
        };
        self.db.write(change).await.expect("a changed row");
    }

    /// Returns the number of rows of a table.
    pub async fn count_rows(&self, table: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) AS n FROM {table}");
        let statement = Statement::from_string(self.db.backend(), sql);
        let row = self.db.conn().query_one_raw(statement).await.expect("a count");
        row.expect("a row").try_get("", "n").expect("a number")
    }

    /// Runs the jobs that are due, and returns once each has ended or waits for its next attempt.
    pub async fn run_due_jobs(&self, runner: &JobRunner) {
        runner.run_due(&self.stop).await.expect("a lookup of jobs");
    }

    /// Applies a batch of events of one feed to the roster, as a consumer does.
    pub async fn apply_batch(&self, org: OrgId, batch: &Batch) {
        match batch {
            Batch::Orgs(payloads) => {
                let event = |payload: &OrgRegistryPayload| OrgRegistryEvent {
                    org_id: org.to_string(),
                    payload: Some(payload.clone()),
                    ..Default::default()
                };
                let events = &payloads.iter().map(event).collect::<Vec<_>>();
                let handler = &Organizations::new(self.observer.clone());
                let apply = |tx| async move { handler.apply(&tx, org, events).await };
                self.db.write(apply).await.expect("events of org-registry");
            }
            Batch::Members(payloads) => {
                let event = |payload: &MembershipPayload| MembershipEvent {
                    org_id: org.to_string(),
                    payload: Some(payload.clone()),
                    ..Default::default()
                };
                let events = &payloads.iter().map(event).collect::<Vec<_>>();
                let handler = &Members::new(self.observer.clone());
                let apply = |tx| async move { handler.apply(&tx, org, events).await };
                self.db.write(apply).await.expect("events of membership");
            }
        }
    }

    /// Applies an event of membership to the roster.
    pub async fn apply_membership(&self, org: OrgId, payload: MembershipPayload) {
        let event = &MembershipEvent {
            event_id: self.env.id::<EventId>().to_string(),
            org_id: org.to_string(),
            payload: Some(payload),
            ..Default::default()
        };
        let handler = &Members::new(self.observer.clone());
        let apply = |tx| async move { handler.apply(&tx, org, std::slice::from_ref(event)).await };
        self.db.write(apply).await.expect("an event of membership");
    }

    /// Applies an event of org-registry to the roster.
    pub async fn apply_org_registry(&self, org: OrgId, payload: OrgRegistryPayload) {
        let event = &OrgRegistryEvent {
            event_id: self.env.id::<EventId>().to_string(),
            org_id: org.to_string(),
            payload: Some(payload),
            ..Default::default()
        };
        let handler = &Organizations::new(self.observer.clone());
        let apply = |tx| async move { handler.apply(&tx, org, std::slice::from_ref(event)).await };
        self.db.write(apply).await.expect("an event of org-registry");
    }
}

impl Drop for ServiceEnv {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn connect(database: &TestDatabase, service: &'static str, secrets: &Secrets, env: &Env) -> Db {
    let config = DatabaseConfig::new(database.url());
    Db::connect(&config, service, secrets.clone(), env.clone())
        .await
        .expect("a database")
}

/// Returns a request that presents a token, or another credential of the scheme Bearer.
pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("a header value");
    request.metadata_mut().insert("authorization", value);
    request
}

/// Returns the documented reason of a refusal, or `OK`.
pub fn reason<T>(outcome: &Result<T, Status>) -> String {
    match outcome {
        Ok(_) => "OK".to_owned(),
        Err(status) => {
            RpcError::from_status(status).map_or_else(|| format!("{status:?}"), |r| r.reason().to_owned())
        }
    }
}

/// Returns the invalid fields of a refusal, sorted and without duplicates.
pub fn fields(status: &Status) -> Vec<String> {
    let refusal = RpcError::from_status(status).expect("google.rpc details");
    let mut fields: Vec<_> = refusal.fields().iter().map(|(path, _)| path.clone()).collect();
    fields.sort();
    fields.dedup();
    fields
}
