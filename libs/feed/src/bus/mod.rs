//! The live bus: hints and encoded chat entries between replicas. It may lose, repeat and reorder, and stores nothing.

mod local;
mod nats;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use local::LocalBus;
pub use nats::{NatsBus, NatsConfig};

/// Why something was not sent; nothing that is right depends on its arrival.
#[derive(Debug, thiserror::Error)]
#[error("the bus: {0}")]
pub struct BusError(pub(crate) String);

/// Publishes to whoever listens at the moment.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends to all present subscribers of the subject, this process included. Never waits for a broken connection.
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError>;
    /// Whether there may be other replicas of a service at its other end: what is for them alone need not be sent otherwise.
    fn reaches_replicas(&self) -> bool {
        true
    }
    /// Listens to exactly this subject from now on.
    async fn subscribe(&self, subject: &str) -> Result<BoxStream<'static, Bytes>, BusError>;
}
