//! Serves live streams with a codec of its own: an entry is encoded once and shared as bytes by every stream.
use std::{
    collections::HashMap,
    convert::Infallible,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes};
use futures::{Stream, future::BoxFuture, stream};
use parta_edge::Edge;
use parta_ids::ChatId;
use parta_proto::{ProtoDecoder, parta::chat::v1 as pb};
use parta_roster::MemberContext;
use parta_status::{FieldViolations, field};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    server::{Grpc, NamedService, ServerStreamingService},
};

use super::{Settings, subscribe};
use crate::{context::Context as ServiceContext, permissions::Rule};

/// At most this many chats in one subscription.
const MAX_CURSORS: usize = 1_000;

type Answer<T> = Result<Response<T>, Status>;

/// The rows of the permission matrix.
pub(crate) fn rules() -> Vec<Rule> {
    vec![Rule::own("parta.chat.v1.LiveService/SubscribeChats", |kind| {
        MemberContext::sample(kind).is_some_and(|f| f.is_active())
    })]
}

/// Serves live streams. The server's layers end them with the credential, with the session, and when the server drains.
#[derive(Clone)]
pub(crate) struct LiveServer {
    edge: Edge<ServiceContext>,
    context: Arc<ServiceContext>,
    settings: Arc<Settings>,
}

fn cursors(v: &mut FieldViolations, cursors: &[pb::ChatCursor]) -> HashMap<ChatId, i64> {
    v.check(
        cursors.len() <= MAX_CURSORS,
        "cursors",
        format!("must be at most {MAX_CURSORS}"),
    );
    let mut decoded = HashMap::new();
    for (at, cursor) in cursors.iter().take(MAX_CURSORS).enumerate() {
        v.check(
            cursor.seq >= 0,
            format!("cursors[{at}].seq"),
            "must not be negative",
        );
        if let Some(chat) = field::id(v, &format!("cursors[{at}].chat_id"), &cursor.chat_id) {
            let twice = decoded.insert(chat, cursor.seq).is_some();
            v.check(!twice, format!("cursors[{at}].chat_id"), "must be named once");
        }
    }
    decoded
}

/// Responses that are encoded already.
type Encoded = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl LiveServer {
    pub(crate) fn new(
        edge: Edge<ServiceContext>,
        context: Arc<ServiceContext>,
        settings: Arc<Settings>,
    ) -> Self {
        Self {
            edge,
            context,
            settings,
        }
    }

    async fn subscribe_chats(&self, request: Request<pb::SubscribeChatsRequest>) -> Answer<Encoded> {
        let call = self.edge.enter(request).await?;
        let (org, cursors) = call.query(|v, r| {
            let org = field::id(v, "org_id", &r.org_id);
            let cursors = cursors(v, &r.cursors);
            Some((org?, cursors))
        })?;
        let context = &self.context;
        let (scope, member) = context.reader(context.db.conn(), call.caller(), org).await?;
        let subscription = subscribe(self.settings.clone(), scope, member, cursors).await?;
        // Boxed, as a future that takes it has room for what it is made of and for what it works with.
        let entries = stream::unfold(Some(Box::new(subscription)), |subscription| async move {
            let mut subscription = subscription?;
            match subscription.next().await {
                Ok(response) => Some((Ok(response), Some(subscription))),
                Err(error) => Some((Err(Status::from(error)), None)),
            }
        });
        Ok(Response::new(Box::pin(entries)))
    }
}

impl NamedService for LiveServer {
    const NAME: &'static str = "parta.chat.v1.LiveService";
}

const SUBSCRIBE: &str = "/parta.chat.v1.LiveService/SubscribeChats";

impl tower::Service<http::Request<Body>> for LiveServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            if request.uri().path() == SUBSCRIBE {
                return Ok(Grpc::new(Shared::default())
                    .server_streaming(Subscribe(server), request)
                    .await);
            }
            let mut unknown = http::Response::new(Body::default());
            let headers = unknown.headers_mut();
            headers.insert(Status::GRPC_STATUS, (tonic::Code::Unimplemented as i32).into());
            headers.insert(http::header::CONTENT_TYPE, tonic::metadata::GRPC_CONTENT_TYPE);
            Ok(unknown)
        })
    }
}

struct Subscribe(LiveServer);

impl ServerStreamingService<pb::SubscribeChatsRequest> for Subscribe {
    type Response = Bytes;
    type ResponseStream = Encoded;
    type Future = BoxFuture<'static, Answer<Encoded>>;

    fn call(&mut self, request: Request<pb::SubscribeChatsRequest>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move { server.subscribe_chats(request).await })
    }
}

/// Room for the frames of a stream that idles; it grows with what is to be sent, up to [`FLUSH`].
const BUFFER: usize = 64;
/// So much is gathered into one frame of the transport while more is ready.
const FLUSH: usize = 32 * 1024;

/// Reads requests as prost does, and writes responses that others have encoded.
struct Shared<T>(PhantomData<fn() -> T>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: prost::Message + Default + 'static> Codec for Shared<T> {
    type Encode = Bytes;
    type Decode = T;
    type Encoder = AsItIs;
    type Decoder = ProtoDecoder<T>;

    fn encoder(&mut self) -> AsItIs {
        AsItIs
    }

    fn decoder(&mut self) -> ProtoDecoder<T> {
        parta_proto::decoder()
    }
}

struct AsItIs;

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, FLUSH)
    }
}
