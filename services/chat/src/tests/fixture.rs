//! The chat service with the feeds of org-registry and membership, which the tests write.
use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use parta_database::{DatabaseConfig, Db, StorageError};
use parta_feed::{AT_LEAST, Bus, EventPayload, FeedKind, FeedServer, LocalBus, append_event};
use parta_grpc::{InMemoryTransport, Limits, RequestExt as _, Routes, ServiceChannel, StackService};
use parta_ids::{Env, MemberId, OrgId, Uuid};
use parta_proto_membership::{
    MembershipFeed,
    internal::v1::{
        GetNamesRequest, GetNamesResponse, MemberName,
        name_service_server::{NameService, NameServiceServer},
    },
    v1::membership_feed_service_server::MembershipFeedServiceServer,
};
use parta_proto_org_registry::{
    OrgRegistryFeed, v1::org_registry_feed_service_server::OrgRegistryFeedServiceServer,
};
use parta_service_testkit::ServiceEnv;
use parta_testkit::TestDatabase;
use tonic::Request;

use crate::{
    Config, GRPC_SERVICES, assembly,
    assembly::{Assembly, Wiring},
    live,
};

/// The running services. Dropping it stops them.
pub(crate) struct Fixture {
    pub(crate) env: Env,
    pub(crate) db: Db,
    pub(crate) channel: ServiceChannel,
    /// The service with the layers of the server, without a transport.
    pub(crate) service: StackService,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) call_scheduling: ServiceChannel,
    test_env: ServiceEnv,
    feeds: Feeds,
    config: Config,
    pub(crate) database: TestDatabase,
}

/// Organizations with an ending that is late, and for how long.
type Overdue = Arc<Mutex<Vec<(OrgId, Duration)>>>;

/// The feeds of the other services, which the tests write.
struct Feeds {
    org_registry: Db,
    membership: Db,
    /// The endings that membership reports as late.
    overdue: Overdue,
    transports: [InMemoryTransport; 2],
    _databases: [TestDatabase; 2],
}

/// Names each member by its id.
struct Names;

#[tonic::async_trait]
impl NameService for Names {
    async fn get_names(
        &self,
        request: Request<GetNamesRequest>,
    ) -> Result<tonic::Response<GetNamesResponse>, tonic::Status> {
        let name = |member_id: String| MemberName {
            full_name: format!("Имя {member_id}"),
            member_id,
            ..Default::default()
        };
        let ids = request.into_inner().member_ids.into_iter();
        Ok(tonic::Response::new(GetNamesResponse {
            members: ids.map(name).collect(),
        }))
    }
}

impl Feeds {
    async fn start(test_env: &ServiceEnv) -> Self {
        let databases = [TestDatabase::sqlite(), TestDatabase::sqlite()];
        let org_registry = feed_db(test_env, &databases[0], "org-registry").await;
        let membership = feed_db(test_env, &databases[1], "membership").await;
        let organizations =
            OrgRegistryFeedServiceServer::new(feed::<OrgRegistryFeed>(test_env, &org_registry));
        let overdue = Overdue::default();
        let members = feed::<MembershipFeed>(test_env, &membership).report_overdue({
            let overdue = overdue.clone();
            move |_| {
                let overdue = overdue.lock().unwrap().clone();
                async move { Ok(overdue) }
            }
        });
        let members = MembershipFeedServiceServer::new(members);
        let transports = [
            test_env.serve(
                &["parta.org_registry.v1.OrgRegistryFeedService"],
                Routes::new(organizations),
            ),
            test_env.serve(
                &[
                    "parta.membership.v1.MembershipFeedService",
                    "parta.membership.internal.v1.NameService",
                ],
                Routes::new(members).add_service(NameServiceServer::new(Names)),
            ),
        ];
        Self {
            org_registry,
            membership,
            overdue,
            transports,
            _databases: databases,
        }
    }
}

impl Fixture {
    /// Starts the services with the default configuration.
    pub(crate) async fn start(database: TestDatabase) -> Self {
        Self::start_with(database, Config::default()).await
    }

    pub(crate) async fn start_with(database: TestDatabase, config: Config) -> Self {
        let test_env = ServiceEnv::open_in_real_time(&database, "chat", crate::migrations()).await;
        let feeds = Feeds::start(&test_env).await;
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let (transport, service) = start_chat(
            &test_env,
            &feeds,
            (&test_env.db, &bus, live::FRAME_TIMEOUT),
            &config,
        );
        Self {
            env: test_env.env.clone(),
            db: test_env.db.clone(),
            channel: test_env.channel("chat", &transport),
            service,
            bus,
            call_scheduling: test_env.channel_of("call-scheduling", "chat", &transport),
            test_env,
            feeds,
            config,
            database,
        }
    }

    /// Makes membership report an ending of an organization as late for this long.
    pub(crate) fn report_overdue(&self, org: OrgId, lateness: Duration) {
        self.feeds.overdue.lock().unwrap().push((org, lateness));
    }

    /// Sets columns of the row whose `key` column has this id, bypassing the service.
    pub(crate) async fn change_row(&self, table: &str, assignments: &str, key: &str, id: Uuid) {
        self.test_env.change_row(table, assignments, key, id).await;
    }

    pub(crate) async fn count_rows(&self, table: &str) -> i64 {
        self.test_env.count_rows(table).await
    }

    /// Starts another replica of chat on the same database and with the same configuration, with this bus.
    pub(crate) async fn replica(&self, bus: Arc<dyn Bus>) -> ServiceChannel {
        self.replica_with(bus, live::FRAME_TIMEOUT).await
    }

    /// [`Fixture::replica`] that considers the bus dead without a frame for this long.
    pub(crate) async fn replica_with(&self, bus: Arc<dyn Bus>, frame_timeout: Duration) -> ServiceChannel {
        let db = if self.db.is_postgres() {
            self.test_env.connect(&self.database, "chat").await
        } else {
            self.db.clone()
        };
        let (transport, _) = start_chat(
            &self.test_env,
            &self.feeds,
            (&db, &bus, frame_timeout),
            &self.config,
        );
        self.test_env.channel("chat", &transport)
    }

    /// [`Fixture::replica_with`] that reaches the database by this URL, over this many connections.
    pub(crate) async fn replica_at(
        &self,
        url: &str,
        bus: Arc<dyn Bus>,
        frame_timeout: Duration,
        connections: usize,
    ) -> Vec<ServiceChannel> {
        let (config, secrets) = (DatabaseConfig::new(url), self.test_env.secrets.clone());
        let db = Db::connect(&config, "chat", secrets, self.env.clone())
            .await
            .unwrap();
        let (transport, _) = start_chat(
            &self.test_env,
            &self.feeds,
            (&db, &bus, frame_timeout),
            &self.config,
        );
        let channel = |_| self.test_env.channel("chat", &transport);
        (0..connections).map(channel).collect()
    }

    /// Publishes events in the feed of org-registry. Returns the consistency token of the last one.
    pub(crate) async fn org_registry<P: EventPayload>(&self, org: OrgId, events: Vec<P>) -> String {
        publish(&self.feeds.org_registry, org, events).await
    }

    /// Publishes events in the feed of membership. Returns the consistency token of the last one.
    pub(crate) async fn membership<P: EventPayload>(&self, org: OrgId, events: Vec<P>) -> String {
        publish(&self.feeds.membership, org, events).await
    }

    /// A request of this member. The client's layers retry it while the server refuses it with a retry delay,
    /// as it does until the projection is up to date.
    pub(crate) fn request<T>(&self, org: OrgId, member: MemberId, message: T) -> Request<T> {
        self.request_once(org, member, message).idempotent()
    }

    /// A request of this member that the client's layers do not retry.
    pub(crate) fn request_once<T>(&self, org: OrgId, member: MemberId, message: T) -> Request<T> {
        self.test_env.member_request(org, member, message)
    }

    /// Runs a future concurrently with the test.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.test_env.tracker.spawn(future)
    }

    pub(crate) fn token(&self, org: OrgId, member: MemberId) -> Arc<str> {
        self.test_env.member_token(org, member).into()
    }
}

/// Makes the request wait until chat knows the state of the consistency token.
pub(crate) fn at_least<T>(mut request: Request<T>, token: &str) -> Request<T> {
    request.metadata_mut().insert(AT_LEAST, token.parse().unwrap());
    request
}

async fn feed_db(test_env: &ServiceEnv, database: &TestDatabase, service: &'static str) -> Db {
    let db = test_env.connect(database, service).await;
    let mut all = parta_database::migrations();
    all.extend(parta_feed::migrations());
    db.migrate(all).await.unwrap();
    db
}

fn feed<K: FeedKind>(test_env: &ServiceEnv, db: &Db) -> FeedServer<K> {
    FeedServer::new(db.clone(), test_env.stop.clone(), |_, _| async { Ok(Vec::new()) })
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
    parta_mutations::consistency_token(db, org, db.head(org).await.unwrap())
}

fn start_chat(
    test_env: &ServiceEnv,
    feeds: &Feeds,
    (db, bus, frame_timeout): (&Db, &Arc<dyn Bus>, Duration),
    config: &Config,
) -> (InMemoryTransport, StackService) {
    let [organizations, members] = &feeds.transports;
    let wiring = Wiring {
        db: db.clone(),
        bus: bus.clone(),
        frame_timeout,
        draining: test_env.stop.clone(),
        org_registry: test_env.channel_of("chat", "org-registry", organizations),
        membership: test_env.channel_of("chat", "membership", members),
        membership_calls: test_env.channel_of("chat", "membership", members),
    };
    let Assembly {
        routes,
        consumers,
        tasks,
    } = assembly::assemble(wiring, config);
    let maintenance = parta_runtime::maintenance("chat", db, bus);
    for task in consumers.into_iter().chain(tasks).chain(maintenance) {
        let run = task.run(test_env.stop.clone());
        test_env.tracker.spawn(async move { run.await.unwrap() });
    }
    let limits = Limits {
        calls: 1_024,
        streams: 4_096,
        ..Limits::default()
    };
    let layers = || test_env.layers(GRPC_SERVICES, limits);
    let service = layers().around(routes.clone());
    (test_env.serve_behind(layers(), routes), service)
}
