use std::marker::PhantomData;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use parta_ids::OrgId;
use parta_proto::{EventPage, FeedChannel, HeadStream, feed::v1::ReadRequest};
use tonic::Status;

use crate::{FeedEvent, FeedKind};

/// One message of a snapshot.
#[derive(Debug, Clone)]
pub enum SnapshotItem<E> {
    /// An event that builds a part of the state.
    Event(E),
    /// The end of the snapshot.
    End {
        /// The cursor from which to read after the snapshot.
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
    /// Follows the heads of all logs.
    async fn watch_heads(&self) -> Result<HeadStream, Status>;
    /// Reads at most `limit` events of an organization after the cursor; empty for the beginning of its log.
    async fn read(&self, org_id: OrgId, cursor: &str, limit: i32) -> Result<EventPage<Self::Event>, Status>;
    /// Streams the current state of an organization.
    async fn snapshot(
        &self,
        org_id: OrgId,
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

    async fn watch_heads(&self) -> Result<HeadStream, Status> {
        K::watch_heads(self.channel.clone()).await
    }

    async fn read(&self, org_id: OrgId, cursor: &str, limit: i32) -> Result<EventPage<K::Event>, Status> {
        let request = ReadRequest {
            org_id: org_id.to_string(),
            cursor: cursor.to_owned(),
            page_size: limit,
        };
        K::read(self.channel.clone(), request).await
    }

    async fn snapshot(
        &self,
        org_id: OrgId,
    ) -> Result<BoxStream<'static, Result<SnapshotItem<K::Event>, Status>>, Status> {
        let messages = K::snapshot(self.channel.clone(), org_id.to_string()).await?;
        let items = messages.map_ok(|(cursor, event)| match event {
            Some(event) => SnapshotItem::Event(event),
            None => SnapshotItem::End { cursor },
        });
        Ok(items.boxed())
    }
}
