//! The service behind its real layers on a database of its own, a roster that a test tells what it knows, and callers.
use std::sync::Arc;

use chrono::TimeDelta;
use parta_access::{
    AccessRules, JwkSource, KeyPair, Secrets, ServiceIdentity, ServiceKeys, SigningKey, TokenIssuer, Verifier,
};
use parta_feed::{Freshness, HandleError, Handler as _, Progress};
use parta_grpc::{
    Authenticator, ClientBuilder, InMemoryTransport, Limits, Routes, ServiceChannel, ServiceClients, Target,
    layers,
    server::{ServeOptions, serve},
};
use parta_ids::{Env, ManualClock, MemberId, OrgId, SystemIds};
use parta_proto::parta::{
    membership::v1::{MembershipEvent, membership_event::Payload as Said},
    org_registry::v1::{OrgRegistryEvent, org_registry_event::Payload as Registered},
};
use parta_roster::{ConsumerNames, Members, Organizations, Roster, RosterObserver};
use parta_status::RpcError;
use parta_storage::{DatabaseConfig, Db};
use parta_testkit::TestDatabase;
use sea_orm_migration::MigrationTrait;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Status};

const NAMES: ConsumerNames = ConsumerNames {
    organizations: "test.organizations",
    members: "test.members",
};

/// One database with a clock that stands, and what verifies callers.
pub struct TestEnv {
    pub db: Db,
    pub clock: Arc<ManualClock>,
    pub env: Env,
    pub roster: Roster,
    pub secrets: Secrets,
    pub stop: CancellationToken,
    pub tracker: TaskTracker,
    issuer: TokenIssuer,
    verifier: Arc<Verifier>,
    pairs: Vec<(&'static str, KeyPair)>,
    observer: Arc<dyn RosterObserver>,
}

impl TestEnv {
    /// Opens and migrates the database.
    pub async fn open(
        database: &TestDatabase,
        service: &'static str,
        migrations: Vec<Box<dyn MigrationTrait>>,
        observer: fn(Secrets) -> Arc<dyn RosterObserver>,
    ) -> Self {
        let clock = Arc::new(ManualClock::new("2026-09-01T08:00:00Z".parse().unwrap()));
        let env = Env {
            clock: clock.clone(),
            ids: Arc::new(SystemIds),
        };
        let secrets = Secrets::new([7; 32]);
        let db = Db::connect(
            &DatabaseConfig::new(database.url()),
            service,
            secrets.clone(),
            env.clone(),
        )
        .await
        .unwrap();
        db.migrate(migrations).await.unwrap();
        let fresh = Progress {
            cursor: None,
            checkpoint: Some(Instant::now()),
        };
        let freshness = |name| Freshness::fixed(name, fresh);
        let roster = Roster::new(
            NAMES,
            env.clone(),
            freshness("org-registry"),
            freshness("membership"),
        );
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
        let verifier = Arc::new(Verifier::new(source, "test", env.clone()));
        let pairs = [service, "feed-reader"]
            .map(|name| (name, KeyPair::generate(&env).unwrap()))
            .to_vec();
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let observer = observer(secrets.clone());
        Self {
            db,
            clock,
            env,
            roster,
            secrets,
            stop,
            tracker,
            issuer,
            verifier,
            pairs,
            observer,
        }
    }

    /// Serves routes behind the real layers.
    pub fn serve(&self, names: &[&str], routes: Routes) -> InMemoryTransport {
        let keys =
            ServiceKeys::new(self.pairs.iter().map(|(n, p)| (*n, p.public())), self.env.clone()).unwrap();
        let authenticator = Authenticator {
            access: AccessRules::load(names).unwrap(),
            verifier: self.verifier.clone(),
            services: Arc::new(keys),
            operators: Vec::new(),
        };
        let stack = layers(
            &self.env,
            Arc::new(authenticator),
            Limits::default(),
            self.stop.clone(),
        );
        let (pipe, incoming) = InMemoryTransport::pair();
        let end = self.stop.clone().cancelled_owned();
        self.tracker
            .spawn(async move { serve(incoming, routes, stack, ServeOptions::default(), end).await });
        pipe
    }

    /// The channels by which the service under test reaches others.
    pub fn peers(&self, targets: Vec<(&str, InMemoryTransport)>) -> ServiceClients {
        let builder = ClientBuilder::new(self.env.clone()).identity(Arc::new(self.identity(0)));
        let targets = targets
            .into_iter()
            .map(|(name, pipe)| (name.to_owned(), Target::Memory(pipe)));
        ServiceClients::connect(&builder, targets).unwrap()
    }

    fn identity(&self, which: usize) -> ServiceIdentity {
        let (name, pair) = &self.pairs[which];
        ServiceIdentity::new(*name, pair, self.env.clone()).unwrap()
    }

    /// A channel of somebody outside.
    pub fn outside(&self, service: &str, pipe: &InMemoryTransport) -> ServiceChannel {
        ClientBuilder::new(self.env.clone())
            .channel(service, Target::Memory(pipe.clone()))
            .unwrap()
    }

    /// A channel of another service of the suite.
    pub fn other_service(&self, service: &str, pipe: &InMemoryTransport) -> ServiceChannel {
        let builder = ClientBuilder::new(self.env.clone()).identity(Arc::new(self.identity(1)));
        builder.channel(service, Target::Memory(pipe.clone())).unwrap()
    }

    /// A person's request.
    pub fn by<T>(&self, org: OrgId, member: MemberId, message: T) -> Request<T> {
        bearer(
            message,
            &self.issuer.person(org, member, self.env.id()).unwrap().text,
        )
    }

    /// A new `request_id`.
    pub fn act(&self) -> String {
        self.env.ids.uuid().to_string()
    }

    /// The roster hears of it.
    pub async fn hear(&self, org: OrgId, said: Said) {
        let event = MembershipEvent {
            event_id: self.env.id::<parta_ids::EventId>().to_string(),
            org_id: org.to_string(),
            payload: Some(said),
            ..Default::default()
        };
        let (event, members) = (&event, &Members::new(self.observer.clone()));
        self.db
            .write(|tx| async move { members.apply(&tx, event).await })
            .await
            .map_err(|e: HandleError| e)
            .unwrap();
    }

    /// The roster hears of it.
    pub async fn register(&self, org: OrgId, fact: Registered) {
        let event = OrgRegistryEvent {
            event_id: self.env.id::<parta_ids::EventId>().to_string(),
            org_id: org.to_string(),
            payload: Some(fact),
            ..Default::default()
        };
        let (event, orgs) = (&event, &Organizations::new(self.observer.clone()));
        self.db
            .write(|tx| async move { orgs.apply(&tx, event).await })
            .await
            .map_err(|e: HandleError| e)
            .unwrap();
    }
}

fn bearer<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// The documented reason of a refusal; "OK" where there was none.
pub fn reason<T>(outcome: &Result<T, Status>) -> String {
    match outcome {
        Ok(_) => "OK".to_owned(),
        Err(status) => {
            RpcError::from_status(status).map_or_else(|| format!("{status:?}"), |r| r.reason().to_owned())
        }
    }
}
