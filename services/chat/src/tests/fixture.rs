//! The chat service with the feeds of org-registry and membership, which the tests write.
use std::sync::Arc;

use chrono::TimeDelta;
use parta_access::{
    AccessRules, JwkSource, KeyPair, Secrets, ServiceIdentity, ServiceKeys, SigningKey, TokenIssuer, Verifier,
};
use parta_feed::{
    AT_LEAST, Bus, EventPayload, FeedKind, FeedServer, LocalBus, MembershipFeed, OrgRegistryFeed,
    append_event,
};
use parta_grpc::{
    Authenticator, ClientBuilder, InMemoryTransport, Limits, RequestExt as _, Routes, ServerLayers,
    ServiceChannel, StackService, Target, layers,
    server::{ServeOptions, serve},
};
use parta_ids::{Env, MemberId, OrgId, SessionId};
use parta_proto::parta::{
    membership::v1::membership_feed_service_server::MembershipFeedServiceServer,
    org_registry::v1::org_registry_feed_service_server::OrgRegistryFeedServiceServer,
};
use parta_storage::{DatabaseConfig, Db, StorageError};
use parta_testkit::TestDatabase;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Request;

use crate::{
    Config, GRPC_SERVICES, assembly,
    assembly::{Assembly, Wiring},
};

const ISSUER: &str = "parta";

/// The running services. Dropping it stops them.
pub(super) struct Fixture {
    pub(super) env: Env,
    pub(super) db: Db,
    pub(super) channel: ServiceChannel,
    /// The service with the layers of the server, without a transport.
    pub(super) service: StackService,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) call_scheduling: ServiceChannel,
    org_registry: Db,
    membership: Db,
    keys: Keys,
    feeds: (InMemoryTransport, InMemoryTransport),
    tracker: TaskTracker,
    cancel: CancellationToken,
    pub(super) database: TestDatabase,
    _feeds: [TestDatabase; 2],
}

#[derive(Clone)]
struct Keys {
    issuer: TokenIssuer,
    authenticator: Arc<Authenticator>,
    verifier: Arc<Verifier>,
    chat: Arc<ServiceIdentity>,
    call_scheduling: Arc<ServiceIdentity>,
    secrets: Secrets,
}

impl Keys {
    fn new(env: &Env) -> Self {
        let now = env.now();
        let pair = KeyPair::generate(env).unwrap();
        let key = SigningKey {
            kid: "1".into(),
            pair,
            publish_time: now,
            sign_from: now,
            retire_time: None,
        };
        let issuer = TokenIssuer::new(vec![key], ISSUER, TimeDelta::minutes(10), env.clone());
        let source = JwkSource::shared();
        source.set(&issuer.jwks(), now);
        let verifier = Arc::new(Verifier::new(source, ISSUER, env.clone()));
        let names = ["chat", "call-scheduling", "invitation"];
        let pairs = names.map(|name| (name, KeyPair::generate(env).unwrap()));
        let identity = |name: &str| {
            let (_, pair) = pairs.iter().find(|(n, _)| *n == name).unwrap();
            Arc::new(ServiceIdentity::new(name, pair, env.clone()).unwrap())
        };
        let public = pairs.iter().map(|(name, pair)| (*name, pair.public()));
        let services = Arc::new(ServiceKeys::new(public, env.clone()).unwrap());
        let mut names = GRPC_SERVICES.to_vec();
        names.extend([
            "parta.org_registry.v1.OrgRegistryFeedService",
            "parta.membership.v1.MembershipFeedService",
        ]);
        let access = AccessRules::load(&names).unwrap();
        let (chat, call_scheduling) = (identity("chat"), identity("call-scheduling"));
        let authenticator = Authenticator {
            access,
            verifier: verifier.clone(),
            services,
            operators: Vec::new(),
        };
        let authenticator = Arc::new(authenticator);
        Self {
            issuer,
            authenticator,
            verifier,
            chat,
            call_scheduling,
            secrets: Secrets::generate(env),
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Fixture {
    /// Starts the services with the default configuration.
    pub(super) async fn start(database: TestDatabase) -> Self {
        Self::start_with(database, Config::default()).await
    }

    pub(super) async fn start_with(database: TestDatabase, config: Config) -> Self {
        let env = Env::system();
        let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
        let keys = Keys::new(&env);
        let db = connect(&database, "chat", &keys.secrets, &env).await;
        db.migrate(crate::migrations()).await.unwrap();
        let feeds = [TestDatabase::sqlite(), TestDatabase::sqlite()];
        let org_registry = feed_db(&feeds[0], "org-registry", &keys.secrets, &env).await;
        let membership = feed_db(&feeds[1], "membership", &keys.secrets, &env).await;
        let serving = |routes| start_server(&tracker, &cancel, &keys, &env, routes);
        let org_pipe = serving(Routes::new(OrgRegistryFeedServiceServer::new(feed::<
            OrgRegistryFeed,
        >(
            &org_registry,
            &cancel,
        ))));
        let member_pipe = serving(Routes::new(MembershipFeedServiceServer::new(feed::<
            MembershipFeed,
        >(
            &membership,
            &cancel,
        ))));
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let (pipe, service) = start_chat(
            (&tracker, &cancel, &keys, &env),
            (db.clone(), bus.clone()),
            (&org_pipe, &member_pipe),
            &config,
        );
        let client = ClientBuilder::new(env.clone());
        let channel = client.channel("chat", Target::Memory(pipe.clone())).unwrap();
        let peer = client.identity(keys.call_scheduling.clone());
        let call_scheduling = peer.channel("chat", Target::Memory(pipe)).unwrap();
        let feeds_pipes = (org_pipe, member_pipe);
        Self {
            env,
            db,
            channel,
            service,
            bus,
            call_scheduling,
            org_registry,
            membership,
            keys,
            feeds: feeds_pipes,
            tracker,
            cancel,
            database,
            _feeds: feeds,
        }
    }

    /// Starts another replica of chat on the same database, with this bus.
    pub(super) async fn replica(&self, bus: Arc<dyn Bus>) -> ServiceChannel {
        let db = if self.db.is_postgres() {
            connect(&self.database, "chat", &self.keys.secrets, &self.env).await
        } else {
            self.db.clone()
        };
        let (pipe, _) = start_chat(
            (&self.tracker, &self.cancel, &self.keys, &self.env),
            (db, bus),
            (&self.feeds.0, &self.feeds.1),
            &Config::default(),
        );
        ClientBuilder::new(self.env.clone())
            .channel("chat", Target::Memory(pipe))
            .unwrap()
    }

    /// Publishes events in the feed of org-registry. Returns the consistency token of the last one.
    pub(super) async fn org_registry<P: EventPayload>(&self, org: OrgId, events: Vec<P>) -> String {
        publish(&self.org_registry, org, events).await
    }

    /// Publishes events in the feed of membership. Returns the consistency token of the last one.
    pub(super) async fn membership<P: EventPayload>(&self, org: OrgId, events: Vec<P>) -> String {
        publish(&self.membership, org, events).await
    }

    /// A request of this member. The client's layers retry it while the server refuses it with a retry delay,
    /// as it does until the projection is up to date.
    pub(super) fn request<T>(&self, org: OrgId, member: MemberId, message: T) -> Request<T> {
        let session = self.env.id::<SessionId>();
        let token = self.keys.issuer.person(org, member, session).unwrap().text;
        let mut request = Request::new(message).idempotent();
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    }

    /// Runs a future concurrently with the test.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.tracker.spawn(future)
    }

    /// An access token of this member.
    pub(super) fn token(&self, org: OrgId, member: MemberId) -> Arc<str> {
        let session = self.env.id::<SessionId>();
        self.keys.issuer.person(org, member, session).unwrap().text.into()
    }
}

/// Makes the request wait until chat knows the state of the consistency token.
pub(super) fn at_least<T>(mut request: Request<T>, token: &str) -> Request<T> {
    request.metadata_mut().insert(AT_LEAST, token.parse().unwrap());
    request
}

async fn connect(database: &TestDatabase, service: &'static str, secrets: &Secrets, env: &Env) -> Db {
    Db::connect(
        &DatabaseConfig::new(database.url()),
        service,
        secrets.clone(),
        env.clone(),
    )
    .await
    .unwrap()
}

async fn feed_db(database: &TestDatabase, service: &'static str, secrets: &Secrets, env: &Env) -> Db {
    let db = connect(database, service, secrets, env).await;
    let mut all = parta_storage::migrations();
    all.extend(parta_feed::migrations());
    db.migrate(all).await.unwrap();
    db
}

fn feed<K: FeedKind>(db: &Db, cancel: &CancellationToken) -> FeedServer<K> {
    FeedServer::new(db.clone(), cancel.clone(), |_, _| async { Ok(Vec::new()) })
}

async fn publish<P: EventPayload>(db: &Db, org: OrgId, events: Vec<P>) -> String {
    let events = &events;
    db.write(|tx| async move {
        for event in events {
            append_event(&tx, org, event.clone());
        }
        Ok::<_, StorageError>(())
    })
    .await
    .unwrap();
    db.consistency_token(db.head().await.unwrap())
}

fn stack(cancel: &CancellationToken, keys: &Keys, env: &Env) -> ServerLayers {
    let limits = Limits {
        calls: 1_024,
        streams: 1_024,
    };
    layers(env, keys.authenticator.clone(), limits, cancel.clone())
}

fn start_server(
    tracker: &TaskTracker,
    cancel: &CancellationToken,
    keys: &Keys,
    env: &Env,
    routes: Routes,
) -> InMemoryTransport {
    let (pipe, incoming) = InMemoryTransport::pair();
    let stack = stack(cancel, keys, env);
    let ended = cancel.clone().cancelled_owned();
    tracker.spawn(async move {
        serve(incoming, routes, stack, ServeOptions::default(), ended)
            .await
            .unwrap();
    });
    pipe
}

fn start_chat(
    (tracker, cancel, keys, env): (&TaskTracker, &CancellationToken, &Keys, &Env),
    (db, bus): (Db, Arc<dyn Bus>),
    (org_registry, membership): (&InMemoryTransport, &InMemoryTransport),
    config: &Config,
) -> (InMemoryTransport, StackService) {
    let client = ClientBuilder::new(env.clone()).identity(keys.chat.clone());
    let channel =
        |name: &str, pipe: &InMemoryTransport| client.channel(name, Target::Memory(pipe.clone())).unwrap();
    let wiring = Wiring {
        db: db.clone(),
        bus: bus.clone(),
        verifier: keys.verifier.clone(),
        draining: cancel.clone(),
        org_registry: channel("org-registry", org_registry),
        membership: channel("membership", membership),
    };
    let Assembly {
        routes,
        consumers,
        tasks,
    } = assembly::assemble(wiring, config);
    let maintenance = parta_runtime::maintenance("chat", &db, &bus);
    for task in consumers.into_iter().chain(tasks).chain(maintenance) {
        let run = task.run(cancel.clone());
        tracker.spawn(async move { run.await.unwrap() });
    }
    let service = stack(cancel, keys, env).around(routes.clone());
    (start_server(tracker, cancel, keys, env, routes), service)
}
