//! Chats, their participants, their messages, and the live delivery of entries.
//!
//! Features in order: `talk_policy` (who may be in one chat), `entries` (chats, participants and the
//! log of each chat), `audience` (changes of the roster), `chats`, `messages`, `archive` (old
//! entries), `live` (delivery). Invariants: the sequence numbers of a chat have no gap;
//! a message is stored at most once for its `request_id`, sender and chat; every subscriber gets every entry
//! once and in order, across reconnects and the loss of replicas or of the bus; no member gets an entry after
//! their own removal.
mod archive;
mod assembly;
mod audience;
mod chats;
mod config;
mod context;
mod entries;
mod error;
mod exceptions;
mod feed;
mod live;
mod messages;
mod migrations;
mod permissions;
mod talk_policy;

#[cfg(test)]
mod tests;

use parta_runtime::{Service, ServiceContext, ServiceParts};
use sea_orm_migration::MigrationTrait;

pub use config::Config;
pub use exceptions::EXCEPTIONS;
pub use permissions::permissions;

const NAME: &str = "chat";
const GRPC_SERVICES: &[&str] = &[
    "parta.chat.v1.ChatService",
    "parta.chat.v1.MessageService",
    "parta.chat.v1.LiveService",
    "parta.chat.v1.ChatFeedService",
    "parta.chat.v1.ChatJobService",
    "parta.chat.v1.ChatQuarantineService",
    "parta.chat.internal.v1.AnnouncementService",
];

/// The definition of the service for the runtime.
pub const SERVICE: Service = Service {
    name: NAME,
    package: &parta_proto_chat::PACKAGE,
    calls: &[
        &parta_proto_membership::PACKAGE,
        &parta_proto_org_registry::PACKAGE,
    ],
    grpc_services: GRPC_SERVICES,
    config: parta_runtime::config::check::<Config>,
    build: |context| Box::pin(build(context)),
    migrations,
};

/// Every migration of the service's database, in order.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    parta_runtime::migrations(migrations::migrations())
}

async fn build(context: ServiceContext) -> anyhow::Result<ServiceParts> {
    let config: Config = context.config()?;
    let wiring = assembly::Wiring {
        db: context.db.clone(),
        bus: context.bus.clone(),
        frame_timeout: live::FRAME_TIMEOUT,
        draining: context.draining.clone(),
        org_registry: context.clients.watch("org-registry")?,
        membership: context.clients.watch("membership")?,
        membership_calls: context.clients.client("membership")?,
    };
    let assembly::Assembly {
        routes,
        consumers,
        mut tasks,
    } = assembly::assemble(wiring, &config);
    tasks.extend(parta_runtime::maintenance(
        context.service,
        &context.db,
        &context.bus,
    ));
    Ok(ServiceParts {
        name: NAME,
        routes,
        services: GRPC_SERVICES.to_vec(),
        consumers,
        tasks,
    })
}
