use std::marker::PhantomData;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use parta_ids::{OrgId, optional_text};
use parta_proto::{FeedChannel, WatchItem};
use tonic::Status;

use crate::{FeedEvent, FeedKind};

/// The content of one message of a feed.
#[derive(Debug, Clone)]
pub enum FeedItem<E> {
    /// An event.
    Event(E),
    /// Everything up to the cursor has been delivered.
    Checkpoint,
}

/// One message of a feed.
#[derive(Debug, Clone)]
pub struct Delivery<E> {
    /// The cursor to resume from after this message.
    pub cursor: String,
    /// The content of the message.
    pub item: FeedItem<E>,
}

/// One message of a snapshot.
#[derive(Debug, Clone)]
pub enum SnapshotItem<E> {
    /// An event that builds a part of the state.
    Event(E),
    /// The end of the snapshot.
    End {
        /// The cursor from which to watch after the snapshot.
        cursor: String,
    },
}

/// The source of a feed for a consumer.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The event type of the feed.
    type Event: FeedEvent;
    /// Returns the name of the service that owns the feed.
    fn service(&self) -> &'static str;
    /// Follows the feed after the cursor.
    async fn watch(
        &self,
        cursor: &str,
        org_id: Option<OrgId>,
    ) -> Result<BoxStream<'static, Result<Delivery<Self::Event>, Status>>, Status>;
    /// Streams the current state.
    async fn snapshot(
        &self,
        org_id: Option<OrgId>,
    ) -> Result<BoxStream<'static, Result<SnapshotItem<Self::Event>, Status>>, Status>;
}

/// Reads a feed with its generated client over any tonic service, for example the channel to another service
/// of Parta.
pub struct FeedClient<K, T> {
    channel: T,
    kind: PhantomData<fn() -> K>,
}

impl<K: FeedKind, T> FeedClient<K, T> {
    /// Returns a client that uses this channel.
    pub fn new(channel: T) -> Self {
        Self {
            channel,
            kind: PhantomData,
        }
    }
}

#[async_trait]
impl<K: FeedKind, T: FeedChannel> Source for FeedClient<K, T> {
    type Event = K::Event;

    fn service(&self) -> &'static str {
        K::SERVICE
    }

    async fn watch(
        &self,
        cursor: &str,
        org_id: Option<OrgId>,
    ) -> Result<BoxStream<'static, Result<Delivery<K::Event>, Status>>, Status> {
        let messages = K::watch(self.channel.clone(), cursor.to_owned(), optional_text(org_id)).await?;
        let deliveries = messages.map_ok(|(cursor, item)| Delivery {
            cursor,
            item: match item {
                WatchItem::Event(event) => FeedItem::Event(event),
                WatchItem::Checkpoint(_) => FeedItem::Checkpoint,
            },
        });
        Ok(deliveries.boxed())
    }

    async fn snapshot(
        &self,
        org_id: Option<OrgId>,
    ) -> Result<BoxStream<'static, Result<SnapshotItem<K::Event>, Status>>, Status> {
        let messages = K::snapshot(self.channel.clone(), optional_text(org_id)).await?;
        let items = messages.map_ok(|(cursor, event)| match event {
            Some(event) => SnapshotItem::Event(event),
            None => SnapshotItem::End { cursor },
        });
        Ok(items.boxed())
    }
}
