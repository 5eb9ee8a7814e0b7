//! Feeds of all packages have the same shape. These traits let one server and one client serve all of them.
use futures::stream::BoxStream;
use prost::Message;
use prost_types::Timestamp;
use tonic::{Request, Status, body::Body, client::GrpcService, codegen::StdError};

use crate::feed::v1::{Heads, ReadRequest, SnapshotRequest, WatchHeadsRequest, WatchRequest};

/// The fields that every event has in addition to its payload.
#[derive(Debug, Clone)]
pub struct EventMeta {
    /// The id of the event, `evt_...`.
    pub event_id: String,
    /// The id of the organization it belongs to, `org_...`.
    pub org_id: String,
    /// The position in the log.
    pub position: i64,
    /// The time of the event.
    pub occur_time: Timestamp,
    /// The W3C `traceparent` of the cause; empty if there is none.
    pub trace_parent: String,
}

/// A generated event message.
pub trait FeedEvent: Message + Default + Clone + Send + Sync + 'static {
    /// The generated oneof of its payloads.
    type Payload: EventPayload<Event = Self>;
    /// Sets the fields that the log stores in addition to the payload.
    fn set_meta(&mut self, meta: EventMeta);
    /// Returns the id of the event, `evt_...`.
    fn event_id(&self) -> &str;
    /// Returns the id of the organization, `org_...`.
    fn org_id(&self) -> &str;
    /// Returns the position in the log.
    fn position(&self) -> i64;
    /// Returns the payload; `None` if a newer release wrote it.
    fn payload(&self) -> Option<&Self::Payload>;
    /// Returns the name of the payload, for example `MemberAdmitted`; empty if a newer release wrote it.
    fn kind(&self) -> String;
    /// Removes the payload. A reader skips the event as one of an unknown kind.
    fn clear_payload(&mut self);
}

/// A generated oneof of payloads.
pub trait EventPayload: Clone + Send + Sync + 'static {
    /// The event message that contains the payload.
    type Event: FeedEvent<Payload = Self>;
    /// Returns an event with only this payload.
    fn into_event(self) -> Self::Event;
}

/// The content of one message of `Watch`.
#[derive(Debug, Clone)]
pub enum WatchItem<E> {
    /// An event.
    Event(E),
    /// Everything up to the cursor has been delivered. The server observed this at the time.
    Checkpoint(Option<Timestamp>),
}

/// One message of a feed: its cursor and its content.
pub type FeedMessage<T> = (String, T);
/// The messages of a feed.
pub type FeedStream<T> = BoxStream<'static, Result<FeedMessage<T>, Status>>;
/// The heads of all logs of a service.
pub type HeadStream = BoxStream<'static, Result<Heads, Status>>;

/// One page of the log of an organization.
#[derive(Debug, Clone)]
pub struct EventPage<E> {
    /// The next events, in order.
    pub events: Vec<E>,
    /// The cursor after them.
    pub cursor: String,
}

/// A channel over which a generated client can call.
pub trait FeedChannel:
    GrpcService<
        Body,
        Error: Into<StdError>,
        Future: Send,
        ResponseBody: http_body::Body<Data = bytes::Bytes, Error: Into<StdError> + Send> + Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> FeedChannel for T
where
    T: GrpcService<Body> + Clone + Send + Sync + 'static,
    T::Error: Into<StdError>,
    T::Future: Send,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
}

/// The feed of one service: its name, its generated types and its generated client.
pub trait FeedKind: Send + Sync + 'static {
    /// The name of the service.
    const SERVICE: &'static str;
    /// The full names of `Read`, `Watch`, `Snapshot` and `WatchHeads`.
    const RPCS: [&'static str; 4];
    /// The generated event message.
    type Event: FeedEvent<Payload = Self::Payload>;
    /// The generated oneof of its payloads.
    type Payload: EventPayload<Event = Self::Event>;
    /// Calls `Read`.
    fn read<T: FeedChannel>(
        channel: T,
        request: ReadRequest,
    ) -> impl Future<Output = Result<EventPage<Self::Event>, Status>> + Send;
    /// Calls `Snapshot`. The last message has a cursor and no event.
    fn snapshot<T: FeedChannel>(
        channel: T,
        org_id: String,
    ) -> impl Future<Output = Result<FeedStream<Option<Self::Event>>, Status>> + Send;
    /// Calls `WatchHeads`.
    fn watch_heads<T: FeedChannel>(channel: T) -> impl Future<Output = Result<HeadStream, Status>> + Send;
}

/// Serves a feed. An implementation is a server of the generated service of its kind.
#[tonic::async_trait]
pub trait ServeFeed: Send + Sync + 'static {
    /// The feed.
    type Kind: FeedKind;
    /// Serves `Read`.
    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<EventPage<<Self::Kind as FeedKind>::Event>, Status>;
    /// Serves `Watch`.
    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<FeedStream<WatchItem<<Self::Kind as FeedKind>::Event>>, Status>;
    /// Serves `Snapshot`. The last message has a cursor and no event.
    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<FeedStream<Option<<Self::Kind as FeedKind>::Event>>, Status>;
    /// Serves `WatchHeads`.
    async fn watch_heads(&self, request: Request<WatchHeadsRequest>) -> Result<HeadStream, Status>;
}

/// Implements [`FeedKind`] and the generated service for the feed of the package `v1`.
#[macro_export]
macro_rules! feed_kind {
    (
        $(#[$doc:meta])* $kind:ident, $service:literal, $full_name:literal, $event:ident, $oneof:ident,
        $server:ident :: $trait:ident, $client_module:ident :: $client:ident
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $kind;

        const _: () = {
            use $crate::{
                EventMeta, EventPage, EventPayload, FeedChannel, FeedEvent, FeedKind, FeedStream, HeadStream,
                ServeFeed, WatchItem,
                feed::v1::{
                    Checkpoint, ReadRequest, SnapshotRequest, WatchHeadsRequest, WatchHeadsResponse,
                    WatchRequest,
                },
                futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream},
                tonic::{self, Request, Response, Status},
            };

            impl FeedKind for $kind {
                const SERVICE: &'static str = $service;
                const RPCS: [&'static str; 4] = [
                    concat!($full_name, "/Read"),
                    concat!($full_name, "/Watch"),
                    concat!($full_name, "/Snapshot"),
                    concat!($full_name, "/WatchHeads"),
                ];
                type Event = v1::$event;
                type Payload = v1::$oneof::Payload;

                async fn read<T: FeedChannel>(
                    channel: T,
                    request: ReadRequest,
                ) -> Result<EventPage<v1::$event>, Status> {
                    let mut client = v1::$client_module::$client::new(channel);
                    let v1::ReadResponse { events, cursor } = client.read(request).await?.into_inner();
                    Ok(EventPage { events, cursor })
                }

                async fn snapshot<T: FeedChannel>(
                    channel: T,
                    org_id: String,
                ) -> Result<FeedStream<Option<v1::$event>>, Status> {
                    let mut client = v1::$client_module::$client::new(channel);
                    let stream = client.snapshot(SnapshotRequest { org_id }).await?.into_inner();
                    Ok(stream.map_ok(|response| (response.cursor, response.event)).boxed())
                }

                async fn watch_heads<T: FeedChannel>(channel: T) -> Result<HeadStream, Status> {
                    let mut client = v1::$client_module::$client::new(channel);
                    let stream = client.watch_heads(WatchHeadsRequest {}).await?.into_inner();
                    Ok(stream.map_ok(|response| response.heads.unwrap_or_default()).boxed())
                }
            }

            impl FeedEvent for v1::$event {
                type Payload = v1::$oneof::Payload;
                fn set_meta(&mut self, meta: EventMeta) {
                    self.event_id = meta.event_id;
                    self.org_id = meta.org_id;
                    self.position = meta.position;
                    self.occur_time = Some(meta.occur_time);
                    self.trace_parent = meta.trace_parent;
                }
                fn event_id(&self) -> &str {
                    &self.event_id
                }
                fn org_id(&self) -> &str {
                    &self.org_id
                }
                fn position(&self) -> i64 {
                    self.position
                }
                fn payload(&self) -> Option<&Self::Payload> {
                    self.payload.as_ref()
                }
                fn kind(&self) -> String {
                    let Some(payload) = &self.payload else {
                        return String::new();
                    };
                    // The generated `Debug` begins with the name of the variant.
                    let text = format!("{payload:?}");
                    text.split('(').next().unwrap_or_default().to_owned()
                }
                fn clear_payload(&mut self) {
                    self.payload = None;
                }
            }

            impl EventPayload for v1::$oneof::Payload {
                type Event = v1::$event;
                fn into_event(self) -> v1::$event {
                    v1::$event { payload: Some(self), ..Default::default() }
                }
            }

            #[tonic::async_trait]
            impl<S: ServeFeed<Kind = $kind>> v1::$server::$trait for S {
                async fn read(
                    &self,
                    request: Request<ReadRequest>,
                ) -> Result<Response<v1::ReadResponse>, Status> {
                    let EventPage { events, cursor } = ServeFeed::read(self, request).await?;
                    Ok(Response::new(v1::ReadResponse { events, cursor }))
                }

                type WatchStream = BoxStream<'static, Result<v1::WatchResponse, Status>>;
                async fn watch(
                    &self,
                    request: Request<WatchRequest>,
                ) -> Result<Response<Self::WatchStream>, Status> {
                    let messages = ServeFeed::watch(self, request).await?;
                    let responses = messages.map_ok(|(cursor, item)| {
                        let item = match item {
                            WatchItem::Event(event) => v1::watch_response::Item::Event(event),
                            WatchItem::Checkpoint(observe_time) => {
                                v1::watch_response::Item::Checkpoint(Checkpoint { observe_time })
                            }
                        };
                        v1::WatchResponse { cursor, item: Some(item) }
                    });
                    Ok(Response::new(responses.boxed()))
                }

                type SnapshotStream = BoxStream<'static, Result<v1::SnapshotResponse, Status>>;
                async fn snapshot(
                    &self,
                    request: Request<SnapshotRequest>,
                ) -> Result<Response<Self::SnapshotStream>, Status> {
                    let messages = ServeFeed::snapshot(self, request).await?;
                    let responses = messages.map_ok(|(cursor, event)| v1::SnapshotResponse { cursor, event });
                    Ok(Response::new(responses.boxed()))
                }

                type WatchHeadsStream = BoxStream<'static, Result<WatchHeadsResponse, Status>>;
                async fn watch_heads(
                    &self,
                    request: Request<WatchHeadsRequest>,
                ) -> Result<Response<Self::WatchHeadsStream>, Status> {
                    let heads = ServeFeed::watch_heads(self, request).await?;
                    let responses = heads.map_ok(|heads| WatchHeadsResponse { heads: Some(heads) });
                    Ok(Response::new(responses.boxed()))
                }
            }
        };
    };
}
