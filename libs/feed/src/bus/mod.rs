//! The live bus carries hints and encoded chat entries between replicas. It may lose, repeat and reorder
//! messages, and stores nothing.

mod local;
mod nats;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use local::LocalBus;
pub use nats::{NatsBus, NatsConfig};

/// A failure to publish or subscribe. Correctness never depends on the delivery of a message.
#[derive(Debug, thiserror::Error)]
#[error("the bus: {0}")]
pub struct BusError(pub(crate) String);

/// Publishes messages to the current subscribers.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes to all current subscribers of the subject, including this process. Never waits for a broken
    /// connection.
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError>;
    /// Returns whether other replicas may be connected. If not, messages meant only for other replicas need
    /// not be published.
    fn reaches_replicas(&self) -> bool {
        true
    }
    /// Subscribes to exactly this subject.
    async fn subscribe(&self, subject: &str) -> Result<BoxStream<'static, Bytes>, BusError>;
}
