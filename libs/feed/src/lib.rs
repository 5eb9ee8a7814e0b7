//! Feeds: the database stores the log, gRPC transports it, and the bus only carries hints.
//!
//! The library owns the table `event` of a producing service, the server of its feed, and the tables
//! `feed_cursor`, `feed_quarantine`, `feed_quarantine_event` of a consuming service. Invariants: positions
//! are dense and in commit order; a consumer applies each event exactly once, in order per organization; an
//! event that cannot be applied stops only its organization.
#![warn(missing_docs)]

mod append;
mod bus;
mod consumer;
mod cursor;
mod freshness;
mod kind;
mod log;
mod migrations;
mod relay;
mod server;
mod source;

pub use append::append_event;
pub use bus::{Bus, BusError, LocalBus, NatsBus, NatsConfig};
pub use consumer::{
    Consumer, HandleError, Handler, QuarantinedOrganization, is_quarantined, list_quarantined,
};
pub use cursor::Cursor;
pub use freshness::{AT_LEAST, AtLeast, Freshness, MAX_AGE, Progress};
pub use log::{RETENTION_DAYS, purge};
pub use migrations::migrations;
pub use parta_proto::{EventPayload, FeedEvent, FeedKind};
pub use relay::hint_task;
pub use server::FeedServer;
pub use source::{Delivery, FeedClient, FeedItem, SnapshotItem, Source};
