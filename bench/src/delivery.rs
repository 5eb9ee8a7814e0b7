//! Baselines of delivery: the same bytes written to plain sockets, or sent to tonic streams.
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
use parta_proto_chat::v1::{
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

/// Approximate size of an encoded entry, in bytes.
const FRAME_BYTES: usize = 350;
/// The first byte that a client sends: the kind of its connection.
const RECEIVER: u8 = b'r';
const SENDER: u8 = b's';

/// Runs the process that writes each frame of its sender to all receiving sockets, one after the other.
#[expect(clippy::print_stdout, reason = "prints the address for the parent process")]
pub(crate) fn sockets() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    let mut receivers = Vec::new();
    for socket in listener.incoming() {
        let mut socket = socket?;
        socket.set_nodelay(true)?;
        let mut kind = [0];
        socket.read_exact(&mut kind)?;
        if kind == [RECEIVER] {
            socket.write_all(&kind)?;
            receivers.push(socket);
            continue;
        }
        let mut frame = [0; FRAME_BYTES];
        // Ends when the sender closes its connection.
        while socket.read_exact(&mut frame).is_ok() {
            for receiver in &mut receivers {
                receiver.write_all(&frame)?;
            }
            socket.write_all(&kind)?;
        }
    }
    Ok(())
}

/// A sender that publishes one message to all receivers and waits for the response.
pub(crate) trait Publish {
    fn publish(&mut self) -> impl Future<Output = anyhow::Result<()>>;
}

/// A receiver that waits for the next message.
pub(crate) trait Receive: Send + 'static {
    fn receive(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A client connection to that process.
pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) async fn receiver(address: &str) -> anyhow::Result<Self> {
        let mut socket = Self::open(address, RECEIVER).await?;
        // The process confirms that the receiver is registered.
        socket.0.read_u8().await?;
        Ok(socket)
    }

    pub(crate) async fn sender(address: &str) -> anyhow::Result<Self> {
        Self::open(address, SENDER).await
    }

    async fn open(address: &str, kind: u8) -> anyhow::Result<Self> {
        let address = address.strip_prefix("http://").context("no address")?;
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        socket.write_u8(kind).await?;
        Ok(Self(socket))
    }
}

impl Publish for Socket {
    async fn publish(&mut self) -> anyhow::Result<()> {
        self.0.write_all(&[7; FRAME_BYTES]).await?;
        self.0.read_u8().await?;
        Ok(())
    }
}

impl Receive for Socket {
    async fn receive(&mut self) -> anyhow::Result<()> {
        self.0.read_exact(&mut [0; FRAME_BYTES]).await?;
        Ok(())
    }
}

/// A server that encodes an entry once and sends the same bytes to every open stream.
#[derive(Clone)]
struct SharedBytes(broadcast::Sender<Bytes>);

type EncodedResponses = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

fn encode(item: Item) -> Bytes {
    pb::SubscribeChatsResponse { item: Some(item) }
        .encode_to_vec()
        .into()
}

/// Runs the process that sends the same bytes to all streams.
#[expect(clippy::print_stdout, reason = "prints the address for the parent process")]
pub(crate) async fn shared() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    println!("{}", listener.local_addr()?);
    let shared = SharedBytes(broadcast::channel(4096).0);
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(MessageServiceServer::new(shared.clone()))
        .add_service(shared)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

#[tonic::async_trait]
impl MessageService for SharedBytes {
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
        // Sending fails if no stream is open.
        _ = self.0.send(encode(entry));
        Ok(Response::new(pb::SendMessageResponse::default()))
    }

    async fn list_entries(
        &self,
        _: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        Err(not_found("page", "not implemented by this baseline").into())
    }

    async fn batch_get_authors(
        &self,
        _: Request<pb::BatchGetAuthorsRequest>,
    ) -> Result<Response<pb::BatchGetAuthorsResponse>, Status> {
        Err(not_found("chat", "not implemented by this baseline").into())
    }

    async fn mark_read(
        &self,
        _: Request<pb::MarkReadRequest>,
    ) -> Result<Response<pb::MarkReadResponse>, Status> {
        Err(not_found("chat", "not implemented by this baseline").into())
    }
}

impl NamedService for SharedBytes {
    const NAME: &'static str = "parta.chat.v1.LiveService";
}

impl Service<http::Request<Body>> for SharedBytes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// `LiveService` has only one method.
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.clone();
        Box::pin(async move { Ok(Grpc::new(RawBytesCodec).server_streaming(shared, request).await) })
    }
}

impl ServerStreamingService<pb::SubscribeChatsRequest> for SharedBytes {
    type Response = Bytes;
    type ResponseStream = EncodedResponses;
    type Future = BoxFuture<'static, Result<Response<EncodedResponses>, Status>>;

    fn call(&mut self, _: Request<pb::SubscribeChatsRequest>) -> Self::Future {
        let started = encode(Item::Started(pb::SubscriptionStarted::default()));
        let entries = BroadcastStream::new(self.0.subscribe())
            .map(|entry| entry.map_err(|lag| RpcError::internal(lag).into()));
        let responses: EncodedResponses = Box::pin(stream::once(async { Ok(started) }).chain(entries));
        Box::pin(async { Ok(Response::new(responses)) })
    }
}

/// Decodes requests with prost and sends encoded responses unchanged.
struct RawBytesCodec;

impl Codec for RawBytesCodec {
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

impl Encoder for RawBytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}
