use std::marker::PhantomData;

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use parta_ids::OrgId;
use parta_proto::parta::{call_scheduling, chat, invitation, membership, org_registry};
use tonic::Status;

use crate::{
    CallSchedulingFeed, ChatFeed, FeedEvent, FeedKind, InvitationFeed, MembershipFeed, OrgRegistryFeed,
};

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

macro_rules! feed_source {
    ($kind:ident, $package:path, $module:ident, $client:ident) => {
        const _: () = {
            use $package as pb;

            #[async_trait]
            impl<T> Source for FeedClient<$kind, T>
            where
                T: tonic::client::GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
                T::Error: Into<tonic::codegen::StdError>,
                T::Future: Send,
                T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
                <T::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError> + Send,
            {
                type Event = <$kind as FeedKind>::Event;

                fn service(&self) -> &'static str {
                    <$kind as FeedKind>::SERVICE
                }

                async fn watch(
                    &self,
                    cursor: &str,
                    org_id: Option<OrgId>,
                ) -> Result<BoxStream<'static, Result<Delivery<Self::Event>, Status>>, Status> {
                    let request = pb::WatchRequest {
                        cursor: cursor.to_owned(),
                        org_id: org_id.map(|id| id.to_string()).unwrap_or_default(),
                    };
                    let mut client = pb::$module::$client::new(self.channel.clone());
                    let stream = client.watch(request).await?.into_inner();
                    // An item of an unknown kind, added by a newer producer, only advances the cursor.
                    let stream = stream.map(|response| {
                        response.map(|response| Delivery {
                            cursor: response.cursor,
                            item: match response.item {
                                Some(pb::watch_response::Item::Event(event)) => FeedItem::Event(event),
                                Some(pb::watch_response::Item::Checkpoint(_)) | None => FeedItem::Checkpoint,
                            },
                        })
                    });
                    Ok(stream.boxed())
                }

                async fn snapshot(
                    &self,
                    org_id: Option<OrgId>,
                ) -> Result<BoxStream<'static, Result<SnapshotItem<Self::Event>, Status>>, Status> {
                    let request = pb::SnapshotRequest {
                        org_id: org_id.map(|id| id.to_string()).unwrap_or_default(),
                    };
                    let mut client = pb::$module::$client::new(self.channel.clone());
                    let stream = client.snapshot(request).await?.into_inner();
                    let stream = stream.map(|response| {
                        response.map(|response| match response.event {
                            Some(event) => SnapshotItem::Event(event),
                            None => SnapshotItem::End {
                                cursor: response.cursor,
                            },
                        })
                    });
                    Ok(stream.boxed())
                }
            }
        };
    };
}

feed_source!(
    OrgRegistryFeed,
    org_registry::v1,
    org_registry_feed_service_client,
    OrgRegistryFeedServiceClient
);
feed_source!(
    MembershipFeed,
    membership::v1,
    membership_feed_service_client,
    MembershipFeedServiceClient
);
feed_source!(
    InvitationFeed,
    invitation::v1,
    invitation_feed_service_client,
    InvitationFeedServiceClient
);
feed_source!(
    ChatFeed,
    chat::v1,
    chat_feed_service_client,
    ChatFeedServiceClient
);
feed_source!(
    CallSchedulingFeed,
    call_scheduling::v1,
    call_scheduling_feed_service_client,
    CallSchedulingFeedServiceClient
);
