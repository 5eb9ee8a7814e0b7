//! Feeds: the database stores the logs, gRPC transports them, and the bus only carries hints.
//!
//! A feed has one log for each organization. The library owns the tables `event` and `feed_pulse` of a
//! producing service, the server of its feed, and the tables `feed_cursor` and `feed_quarantine` of a
//! consuming service. Invariants: positions of an organization are dense and in commit order; a consumer
//! applies each event exactly once and in order; events that cannot be applied stop only their organization.
//! See docs/adr/0022.
#![warn(missing_docs)]

mod append;
mod bus;
mod consumer;
mod cursor;
mod freshness;
mod heads;
mod kind;
mod log;
mod metrics;
mod migrations;
mod pulse;
mod purge;
mod relay;
mod server;
mod snapshot;
mod source;

pub use append::append_event;
pub use bus::{Bus, BusError, LocalBus, NatsBus, NatsConfig};
pub use consumer::{
    Consumer, ConsumerHandle, EVENTS_LOST, HandleError, Handler, Lag, QuarantinedOrganization, consumers,
    find_quarantined, list_quarantined, lock_quarantined, rebuild, retry, skip,
};
pub use cursor::Cursor;
pub use freshness::{AT_LEAST, AtLeast, Freshness, MAX_AGE};
pub use log::list_lost;
pub use metrics::observe;
pub use migrations::migrations;
pub use parta_proto::{EventPage, EventPayload, FeedEvent, FeedKind};
pub use pulse::require_commits;
pub use purge::{RETENTION_DAYS, purge};
pub use relay::hint_task;
pub use server::FeedServer;
pub use snapshot::Snapshot;
pub use source::{FeedClient, SnapshotItem, Source};
