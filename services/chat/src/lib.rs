//! Chats: who is in them, what is written, and its delivery to whoever listens.
//!
//! Owns chats, participants and the log of each chat. Invariants: places in a log are gapless; a message is stored once
//! however often it is sent; every subscriber sees every entry once and in order, across reconnects, loss of replicas
//! and of the bus; nobody gets an entry after that of his removal.
mod archiving;
mod assembly;
mod config;
mod error;
mod events;
mod grpc;
mod live;
pub mod model;
mod operations;
pub mod policy;
mod queries;
mod storage;
mod writer;

#[cfg(test)]
mod tests;

use parta_runtime::{Deps, Parts, Service, Task};

pub use config::Config;
pub use error::Error;
pub use policy::permissions;
pub use storage::migrations;

const NAME: &str = "chat";
const GRPC_SERVICES: &[&str] = &[
    "parta.chat.v1.ChatService",
    "parta.chat.v1.MessageService",
    "parta.chat.v1.LiveService",
    "parta.chat.v1.ChatFeedService",
    "parta.chat.internal.v1.AnnouncementService",
];

/// The service as the runtime sees it.
pub const SERVICE: Service = Service {
    name: NAME,
    grpc_services: GRPC_SERVICES,
    config: parta_runtime::config::check::<Config>,
    build: |deps| Box::pin(build(deps)),
    migrations,
};

async fn build(deps: Deps) -> anyhow::Result<Parts> {
    let config: Config = deps.config()?;
    let wiring = assembly::Wiring {
        db: deps.db.clone(),
        bus: deps.bus.clone(),
        verifier: deps.verifier.clone(),
        draining: deps.draining.clone(),
        org_registry: deps.peers.watch("org-registry")?,
        membership: deps.peers.watch("membership")?,
    };
    let assembly::Assembly {
        routes,
        consumers,
        mut work,
    } = assembly::assemble(wiring, &config);
    work.extend(assembly::upkeep(&deps.db, &deps.bus));
    let tasks = |work: Vec<assembly::Work>| {
        let task = |work: assembly::Work| Task::new(work.name, move |cancel| (work.run)(cancel));
        work.into_iter().map(task).collect()
    };
    let (consumers, tasks) = (tasks(consumers), tasks(work));
    Ok(Parts {
        name: NAME,
        routes,
        services: GRPC_SERVICES.to_vec(),
        consumers,
        tasks,
    })
}
