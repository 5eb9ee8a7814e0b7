//! Builds the routes and the background tasks of the service from its dependencies.
use std::{sync::Arc, time::Duration};

use parta_access::PermissionRule;
use parta_database::Db;
use parta_edge::Edge;
use parta_feed::{AtLeast, Bus, FeedServer};
use parta_grpc::{Routes, ServiceChannel};
use parta_operations::{JobServer, QuarantineServer};
use parta_proto_chat::{
    ChatFeed,
    internal::v1::announcement_service_server::AnnouncementServiceServer,
    v1::{
        chat_feed_service_server::ChatFeedServiceServer, chat_job_service_server::ChatJobServiceServer,
        chat_quarantine_service_server::ChatQuarantineServiceServer, chat_service_server::ChatServiceServer,
        message_service_server::MessageServiceServer,
    },
};
use parta_roster::{ConsumerNames, Projection};
use parta_runtime::Task;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Config, archive,
    audience::AudienceUpdater,
    chats::Chats,
    context::Context,
    entries::EntrySink,
    feed,
    live::{self, LiveServer},
    messages::{self, Announcements, MessageService, Messages},
};

const NAMES: ConsumerNames = ConsumerNames {
    organizations: "chat.roster_organizations",
    members: "chat.roster_members",
};

/// The dependencies of the service.
pub(crate) struct Wiring {
    pub(crate) db: Db,
    pub(crate) bus: Arc<dyn Bus>,
    /// Without a frame for this long, a replica or the bus is considered dead.
    pub(crate) frame_timeout: Duration,
    pub(crate) draining: CancellationToken,
    pub(crate) org_registry: ServiceChannel,
    pub(crate) membership: ServiceChannel,
    /// The channel of single calls of membership.
    pub(crate) membership_calls: ServiceChannel,
}

/// The parts of the service.
pub(crate) struct Assembly {
    pub(crate) routes: Routes,
    pub(crate) consumers: Vec<Task>,
    pub(crate) tasks: Vec<Task>,
}

/// Builds the service. No task is started.
pub(crate) fn assemble(wiring: Wiring, config: &Config) -> Assembly {
    let Wiring {
        db,
        bus,
        frame_timeout,
        draining,
        org_registry,
        membership,
        membership_calls,
    } = wiring;
    let live = live::Live::new(db.env().ids.uuid(), bus, config.live_queue, frame_timeout);
    let sink: Arc<dyn EntrySink> = Arc::new(live.clone());
    let audiences = AudienceUpdater::new(sink.clone());
    let projection =
        Projection::from_channels(NAMES, &db, org_registry, membership, Arc::new(audiences.clone()));
    audiences.set_roster(projection.roster.clone());
    let writing = messages::writer(db.clone(), sink.clone(), config.send_queue, config.send_batch);
    let context = Arc::new(Context {
        db: db.clone(),
        roster: projection.roster,
        sink,
        membership: membership_calls,
    });
    let at_least = AtLeast::new(db.clone(), context.roster.freshness());
    let edge = Edge::new(db.clone(), at_least, context.clone());
    let settings = Arc::new(live::Settings {
        db: db.clone(),
        live: live.clone(),
        roster: context.roster.clone(),
        heartbeat: Duration::from_secs(config.heartbeat_seconds),
        replays: Semaphore::new(live::REPLAYS_MAX),
    });
    let comparing = (
        live.clone(),
        db.clone(),
        Duration::from_secs(config.heartbeat_seconds),
    );
    let archive = archive_task(&db, config.archive_after_days);
    let feed = FeedServer::<ChatFeed>::new(db.clone(), draining, feed::snapshot);
    let jobs = JobServer::new(db.clone());
    let quarantines = QuarantineServer::new(db.clone());
    let service = MessageService::new(context.clone(), writing.writer);
    let routes = Routes::new(ChatServiceServer::new(Chats::new(edge.clone())))
        .add_service(MessageServiceServer::new(Messages::new(
            edge.clone(),
            service.clone(),
        )))
        .add_service(LiveServer::new(edge.clone(), context.clone(), settings))
        .add_service(ChatFeedServiceServer::new(feed))
        .add_service(ChatJobServiceServer::new(jobs))
        .add_service(ChatQuarantineServiceServer::new(quarantines))
        .add_service(AnnouncementServiceServer::new(Announcements::new(edge, service)));
    let consumers = vec![
        Task::consumer(NAMES.organizations, projection.organizations),
        Task::consumer(NAMES.members, projection.members),
    ];
    let mut tasks = vec![
        Task::over("chat.writer", writing.task, |writer, cancel| async move {
            writer.run(cancel).await
        }),
        Task::over(
            "chat.locked_chats",
            writing.locked_chats,
            |locked, cancel| async move { locked.run(cancel).await },
        ),
        Task::over("chat.live_send", live.clone(), |live, cancel| async move {
            live.send(cancel).await
        }),
        Task::over("chat.live_receive", live.clone(), |live, cancel| async move {
            live.receive(cancel).await
        }),
        Task::over(
            "chat.live_compare",
            comparing,
            |(live, db, interval), cancel| async move { live.run_comparisons(&db, interval, cancel).await },
        ),
        Task::over("chat.live_fanout", live, |live, cancel| async move {
            live.run_fanout(cancel).await
        }),
    ];
    tasks.extend(archive);
    Assembly {
        routes,
        consumers,
        tasks,
    }
}

/// The task that archives old entries. There is none if entries are never archived.
fn archive_task(db: &Db, after_days: u32) -> Option<Task> {
    let task = Task::periodic(
        "chat.archive",
        archive::INTERVAL,
        db.clone(),
        move |db, cancel| async move { archive::run(&db, after_days, &cancel).await },
    );
    (after_days > 0).then_some(task)
}

/// The rows of the permission matrix of the gRPC services that every service serves alike.
pub(crate) fn common_rules() -> Vec<PermissionRule> {
    parta_operations::common_rules::<ChatFeed>(parta_proto_chat::OPERATOR_RPCS)
}
