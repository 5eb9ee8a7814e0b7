//! The limits of a delivery: the same bytes written to plain sockets, and passed to streams of tonic.
use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    pin::Pin,
    task::{Context, Poll},
};

use anyhow::Context as _;
use bytes::{BufMut as _, Bytes};
use futures::{Stream, StreamExt as _, future::BoxFuture, stream};
use parta_proto::parta::chat::v1::{
    self as pb,
    message_service_server::{MessageService, MessageServiceServer},
    subscribe_chats_response::Item,
};
use parta_status::{RpcError, not_found};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::broadcast,
};
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    codegen::{Service, http},
    server::{Grpc, NamedService, ServerStreamingService},
};
use tonic_prost::ProstDecoder;

use crate::cases::fanout::{Hear, Tell};

/// About as many bytes as an entry takes in the transport.
const FRAME: usize = 350;
/// The kinds of connections, as clients announce them.
const LISTENER: u8 = b'l';
const SENDER: u8 = b's';

/// The main of the process that writes what its sender sends to all plain sockets, one after the other.
#[expect(clippy::print_stdout, reason = "tells whoever started it where it listens")]
pub(crate) fn sockets() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    let mut listeners = Vec::new();
    for socket in listener.incoming() {
        let mut socket = socket?;
        socket.set_nodelay(true)?;
        let mut kind = [0];
        socket.read_exact(&mut kind)?;
        if kind == [LISTENER] {
            socket.write_all(&kind)?;
            listeners.push(socket);
            continue;
        }
        let mut frame = [0; FRAME];
        // Its sender hangs up when it has nothing more to say.
        while socket.read_exact(&mut frame).is_ok() {
            for listener in &mut listeners {
                listener.write_all(&frame)?;
            }
            socket.write_all(&kind)?;
        }
    }
    Ok(())
}

/// One end of a plain socket of that process.
pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) async fn listener(address: &str) -> anyhow::Result<Self> {
        let mut socket = Self::open(address, LISTENER).await?;
        // Notified that somebody listens.
        socket.0.read_u8().await?;
        Ok(socket)
    }

    pub(crate) async fn sender(address: &str) -> anyhow::Result<Self> {
        Self::open(address, SENDER).await
    }

    async fn open(address: &str, kind: u8) -> anyhow::Result<Self> {
        let address = address.strip_prefix("http://").context("an address")?;
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        socket.write_u8(kind).await?;
        Ok(Self(socket))
    }
}

impl Tell for Socket {
    async fn tell(&mut self) -> anyhow::Result<()> {
        self.0.write_all(&[7; FRAME]).await?;
        self.0.read_u8().await?;
        Ok(())
    }
}

impl Hear for Socket {
    async fn hear(&mut self) -> anyhow::Result<()> {
        self.0.read_exact(&mut [0; FRAME]).await?;
        Ok(())
    }
}

/// Encodes an entry once and hands the bytes to every open stream.
#[derive(Clone)]
struct Shared(broadcast::Sender<Bytes>);

/// Responses that are encoded already.
type Encoded = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

fn encoded(item: Item) -> Bytes {
    pb::SubscribeChatsResponse { item: Some(item) }
        .encode_to_vec()
        .into()
}

/// The main of the process that shares bytes among streams.
#[expect(clippy::print_stdout, reason = "tells whoever started it where it listens")]
pub(crate) async fn shared() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    println!("{}", listener.local_addr()?);
    let shared = Shared(broadcast::channel(4096).0);
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(MessageServiceServer::new(shared.clone()))
        .add_service(shared)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

#[tonic::async_trait]
impl MessageService for Shared {
    async fn send_message(
        &self,
        request: Request<pb::SendMessageRequest>,
    ) -> Result<Response<pb::SendMessageResponse>, Status> {
        let request = request.into_inner();
        let content = pb::entry::Content::Message(pb::Message {
            sender_id: "mbr_01h455vb4pex5vsknk084sn02q".to_owned(),
            text: request.text,
            ..pb::Message::default()
        });
        let entry = Item::Entry(pb::Entry {
            id: "ent_01h455vb4pex5vsknk084sn02q".to_owned(),
            chat_id: request.chat_id,
            content: Some(content),
            ..pb::Entry::default()
        });
        // Nobody listens before the first stream is open.
        _ = self.0.send(encoded(entry));
        Ok(Response::new(pb::SendMessageResponse::default()))
    }

    async fn list_entries(
        &self,
        _: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        Err(not_found("page", "none here").into())
    }

    async fn mark_read(
        &self,
        _: Request<pb::MarkReadRequest>,
    ) -> Result<Response<pb::MarkReadResponse>, Status> {
        Err(not_found("chat", "none here").into())
    }
}

impl NamedService for Shared {
    const NAME: &'static str = "parta.chat.v1.LiveService";
}

impl Service<http::Request<Body>> for Shared {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Its service has one method.
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.clone();
        Box::pin(async move { Ok(Grpc::new(AsItIs).server_streaming(shared, request).await) })
    }
}

impl ServerStreamingService<pb::SubscribeChatsRequest> for Shared {
    type Response = Bytes;
    type ResponseStream = Encoded;
    type Future = BoxFuture<'static, Result<Response<Encoded>, Status>>;

    fn call(&mut self, _: Request<pb::SubscribeChatsRequest>) -> Self::Future {
        let started = encoded(Item::Started(pb::SubscriptionStarted::default()));
        let entries = BroadcastStream::new(self.0.subscribe())
            .map(|entry| entry.map_err(|lag| RpcError::internal(lag).into()));
        let all: Encoded = Box::pin(stream::once(async { Ok(started) }).chain(entries));
        Box::pin(async { Ok(Response::new(all)) })
    }
}

/// Reads requests as prost does, and writes responses as they are.
struct AsItIs;

impl Codec for AsItIs {
    type Encode = Bytes;
    type Decode = pb::SubscribeChatsRequest;
    type Encoder = Self;
    type Decoder = ProstDecoder<pb::SubscribeChatsRequest>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}
