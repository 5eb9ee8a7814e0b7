//! LiveService, with its own codec: an entry is encoded once and shared as bytes by every stream.
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
use parta_access::PermissionRule;
use parta_edge::Edge;
use parta_ids::ChatId;
use parta_proto::ProtoDecoder;
use parta_proto_chat::v1 as pb;
use parta_roster::MemberContext;
use parta_status::{FieldViolations, field};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    server::{Grpc, NamedService, ServerStreamingService},
};

use super::{Cursor, Settings, position::readable_cursors, subscribe};
use crate::context::Context as ServiceContext;

/// At most this many chats in one subscription.
const MAX_CURSORS: usize = 1_000;

type RpcResult<T> = Result<Response<T>, Status>;

/// The rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![PermissionRule::own(
        "parta.chat.v1.LiveService/SubscribeChats",
        |kind| MemberContext::sample(kind).is_some_and(|f| f.is_active()),
    )]
}

/// The server of LiveService. The server's layers end a stream when the credential expires, when the session
/// is revoked and when the server drains.
#[derive(Clone)]
pub(crate) struct LiveServer {
    edge: Edge<ServiceContext>,
    context: Arc<ServiceContext>,
    settings: Arc<Settings>,
}

/// Decodes the cursors of a request, and adds a violation for each that is invalid or repeated.
fn decode_cursors(v: &mut FieldViolations, cursors: &[pb::ChatCursor]) -> HashMap<ChatId, Cursor> {
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
        let entry_id = match cursor.entry_id.as_str() {
            "" => None,
            id => field::id(v, &format!("cursors[{at}].entry_id"), id),
        };
        if let Some(chat) = field::id(v, &format!("cursors[{at}].chat_id"), &cursor.chat_id) {
            let seq = cursor.seq;
            let repeated = decoded.insert(chat, Cursor { seq, entry_id }).is_some();
            v.check(!repeated, format!("cursors[{at}].chat_id"), "must be named once");
        }
    }
    decoded
}

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

    async fn subscribe_chats(&self, request: Request<pb::SubscribeChatsRequest>) -> RpcResult<Encoded> {
        let call = self.edge.enter(request).await?;
        let (org, cursors) = call.query(|v, r| {
            let org = field::id(v, "org_id", &r.org_id);
            let cursors = decode_cursors(v, &r.cursors);
            Some((org?, cursors))
        })?;
        let context = &self.context;
        let conn = context.db.conn();
        let (scope, member) = context.reader(conn, call.caller(), org).await?;
        let cursors = match call.caller().reads_since {
            Some(since) => readable_cursors(conn, &scope, member, cursors, since).await?,
            None => cursors,
        };
        let subscription = subscribe(self.settings.clone(), scope, member, cursors).await?;
        // Boxed because the future would otherwise contain the subscription twice.
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

const SUBSCRIBE_PATH: &str = "/parta.chat.v1.LiveService/SubscribeChats";

/// By hand, because the generated server always uses the codec that encodes each response for each stream.
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
            if request.uri().path() == SUBSCRIBE_PATH {
                return Ok(Grpc::new(EncodedCodec::default())
                    .server_streaming(Subscribe(server), request)
                    .await);
            }
            let mut unimplemented = http::Response::new(Body::default());
            let headers = unimplemented.headers_mut();
            headers.insert(Status::GRPC_STATUS, (tonic::Code::Unimplemented as i32).into());
            headers.insert(http::header::CONTENT_TYPE, tonic::metadata::GRPC_CONTENT_TYPE);
            Ok(unimplemented)
        })
    }
}

struct Subscribe(LiveServer);

impl ServerStreamingService<pb::SubscribeChatsRequest> for Subscribe {
    type Response = Bytes;
    type ResponseStream = Encoded;
    type Future = BoxFuture<'static, RpcResult<Encoded>>;

    fn call(&mut self, request: Request<pb::SubscribeChatsRequest>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move { server.subscribe_chats(request).await })
    }
}

/// Initial size of the send buffer of a stream, in bytes. It grows up to [`FLUSH_THRESHOLD_BYTES`].
const INITIAL_BUFFER_BYTES: usize = 64;
/// At most about this many bytes of ready responses are sent in one frame of the transport.
const FLUSH_THRESHOLD_BYTES: usize = 32 * 1024;

/// Decodes requests as prost does and copies responses that are already encoded.
struct EncodedCodec<T>(PhantomData<fn() -> T>);

impl<T> Default for EncodedCodec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: prost::Message + Default + 'static> Codec for EncodedCodec<T> {
    type Encode = Bytes;
    type Decode = T;
    type Encoder = BytesEncoder;
    type Decoder = ProtoDecoder<T>;

    fn encoder(&mut self) -> BytesEncoder {
        BytesEncoder
    }

    fn decoder(&mut self) -> ProtoDecoder<T> {
        parta_proto::decoder()
    }
}

struct BytesEncoder;

impl Encoder for BytesEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(INITIAL_BUFFER_BYTES, FLUSH_THRESHOLD_BYTES)
    }
}
