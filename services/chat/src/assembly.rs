//! Builds the routes and the background tasks of the service from its dependencies.
use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parta_access::Verifier;
use parta_edge::Edge;
use parta_feed::{AtLeast, Bus, ChatFeed, FeedServer};
use parta_grpc::{Routes, ServiceChannel};
use parta_proto::parta::chat::{
    internal::v1::announcement_service_server::AnnouncementServiceServer,
    v1::{
        chat_feed_service_server::ChatFeedServiceServer, chat_service_server::ChatServiceServer,
        message_service_server::MessageServiceServer,
    },
};
use parta_roster::{ConsumerNames, Projection};
use parta_storage::Db;
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
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) draining: CancellationToken,
    pub(crate) org_registry: ServiceChannel,
    pub(crate) membership: ServiceChannel,
}

/// The parts of the service.
pub(crate) struct Assembly {
    pub(crate) routes: Routes,
    pub(crate) consumers: Vec<Work>,
    pub(crate) work: Vec<Work>,
}

type Run = dyn Fn(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync;

/// A background task that runs until canceled.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) run: Arc<Run>,
}

/// Builds the service. No task is started.
pub(crate) fn assemble(wiring: Wiring, config: &Config) -> Assembly {
    let Wiring {
        db,
        bus,
        verifier,
        draining,
        org_registry,
        membership,
    } = wiring;
    let live = live::Live::new(db.env().ids.uuid(), bus, config.live_queue);
    let sink: Arc<dyn EntrySink> = Arc::new(live.clone());
    let audiences = AudienceUpdater::new(sink.clone(), verifier);
    let projection =
        Projection::from_channels(NAMES, &db, org_registry, membership, Arc::new(audiences.clone()));
    audiences.set_roster(projection.roster.clone());
    let (writer, writing) = messages::writer(db.clone(), sink.clone(), config.send_queue, config.send_batch);
    let context = Arc::new(Context {
        db: db.clone(),
        roster: projection.roster,
        sink,
        quarantined: Arc::default(),
    });
    let at_least = AtLeast::new(db.clone(), context.roster.freshness());
    let edge = Edge::new(db.clone(), at_least, context.clone());
    let settings = Arc::new(live::Settings {
        db: db.clone(),
        live: live.clone(),
        roster: context.roster.clone(),
        heartbeat: Duration::from_secs(config.heartbeat_seconds),
    });
    let archived = (db.clone(), config.archive_after_days);
    let feed = FeedServer::<ChatFeed>::new(db.clone(), draining, feed::snapshot);
    let service = MessageService::new(context.clone(), writer);
    let routes = Routes::new(ChatServiceServer::new(Chats::new(edge.clone())))
        .add_service(MessageServiceServer::new(Messages::new(
            edge.clone(),
            service.clone(),
        )))
        .add_service(LiveServer::new(edge.clone(), context.clone(), settings))
        .add_service(ChatFeedServiceServer::new(feed))
        .add_service(AnnouncementServiceServer::new(Announcements::new(edge, service)));
    let consumers = vec![
        work(
            NAMES.organizations,
            projection.organizations,
            |consumer, cancel| async move {
                consumer.run(cancel).await;
                Ok(())
            },
        ),
        work(NAMES.members, projection.members, |consumer, cancel| async move {
            consumer.run(cancel).await;
            Ok(())
        }),
    ];
    let work = vec![
        work("chat.writer", writing, |writer, cancel| async move {
            writer.run(cancel).await
        }),
        work("chat.live_send", live.clone(), |live, cancel| async move {
            live.send(cancel).await
        }),
        work("chat.live_receive", live.clone(), |live, cancel| async move {
            live.receive(cancel).await
        }),
        work("chat.live_fanout", live, |live, cancel| async move {
            live.run_fanout(cancel).await
        }),
        work(
            "chat.quarantined",
            (db, context.quarantined.clone()),
            |(db, quarantined), cancel| async move { quarantined.run(&db, cancel).await },
        ),
        work("chat.archive", archived, |(db, days), cancel| async move {
            archive::run(db, days, cancel).await;
            Ok(())
        }),
    ];
    Assembly {
        routes,
        consumers,
        work,
    }
}

/// The background tasks of the libraries.
pub(crate) fn upkeep(db: &Db, bus: &Arc<dyn Bus>) -> Vec<Work> {
    vec![
        work("chat.audit", db.clone(), |db, cancel| async move {
            parta_audit::sealing_task(db, cancel).await;
            Ok(())
        }),
        work(
            "chat.purge_idempotency_records",
            db.clone(),
            |db, cancel| async move {
                parta_storage::purge_task(db, cancel).await;
                Ok(())
            },
        ),
        work("chat.purge_events", db.clone(), |db, cancel| async move {
            parta_feed::purge_task(db, cancel).await;
            Ok(())
        }),
        work(
            "chat.event_notifier",
            (db.clone(), bus.clone()),
            |(db, bus), cancel| async move {
                parta_feed::hint_task(db, bus, cancel).await;
                Ok(())
            },
        ),
    ]
}

/// A task that runs with clones of one value.
fn work<T, F, Fut>(name: &'static str, value: T, run: F) -> Work
where
    T: Clone + Send + Sync + 'static,
    F: Fn(T, CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    Work {
        name,
        run: Arc::new(move |cancel| Box::pin(run(value.clone(), cancel))),
    }
}
