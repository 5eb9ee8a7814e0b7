//! Calls any RPC by its name with JSON messages, for tests over the whole descriptor set.

use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde_json::Value;
use tonic::{
    Request, Status, Streaming,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{Body, StdError},
};

/// Returns an RPC of the descriptor set by its full name `parta.x.v1.Service/Method`.
pub fn method(rpc: &str) -> MethodDescriptor {
    let pool = parta_proto_all::descriptor_pool().expect("the descriptor set");
    let (service, method) = rpc.split_once('/').expect("Service/Method");
    let service = pool.get_service_by_name(service).expect("a service of Parta");
    service
        .methods()
        .find(|m| m.name() == method)
        .expect("a method of the service")
}

/// Returns every RPC, public and internal.
pub fn all_methods() -> Vec<MethodDescriptor> {
    let pool = parta_proto_all::descriptor_pool().expect("the descriptor set");
    let services = pool.services().filter(|s| s.full_name().starts_with("parta."));
    services.flat_map(|s| s.methods().collect::<Vec<_>>()).collect()
}

/// Returns the full name of an RPC, as [`method`] expects it.
pub fn name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

/// Decodes a message from JSON.
pub fn message(descriptor: MessageDescriptor, json: &Value) -> DynamicMessage {
    let text = json.to_string();
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    DynamicMessage::deserialize(descriptor, &mut deserializer).expect("JSON that fits the message")
}

/// Encodes a message as JSON with the field names of the proto.
pub fn json(message: &DynamicMessage) -> Value {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut bytes);
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false);
    message
        .serialize_with_options(&mut serializer, &options)
        .expect("a message has a JSON form");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Calls RPCs by name over any channel: the network, or an in-memory transport.
#[derive(Clone)]
pub struct DynamicClient<T>(Grpc<T>);

impl<T> DynamicClient<T>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    /// Returns a client that uses this channel.
    pub fn new(channel: T) -> Self {
        Self(Grpc::new(channel))
    }

    /// Calls an RPC that returns one response. The metadata and extensions of the request are sent too. If
    /// the RPC expects a stream, it receives this one message.
    pub async fn call(&mut self, rpc: &str, request: Request<Value>) -> Result<Value, Status> {
        let method = method(rpc);
        assert!(
            !method.is_server_streaming(),
            "{rpc} returns a stream: use `open`"
        );
        let (path, codec, request) = self.prepare(&method, request).await?;
        let response = if method.is_client_streaming() {
            let request = request.map(tokio_stream::once);
            self.0.client_streaming(request, path, codec).await?
        } else {
            self.0.unary(request, path, codec).await?
        };
        Ok(json(response.get_ref()))
    }

    /// Calls an RPC that returns a stream.
    pub async fn open(
        &mut self,
        rpc: &str,
        request: Request<Value>,
    ) -> Result<Streaming<DynamicMessage>, Status> {
        let method = method(rpc);
        assert!(
            method.is_server_streaming(),
            "{rpc} returns one response: use `call`"
        );
        let (path, codec, request) = self.prepare(&method, request).await?;
        let response = if method.is_client_streaming() {
            let request = request.map(tokio_stream::once);
            self.0.streaming(request, path, codec).await?
        } else {
            self.0.server_streaming(request, path, codec).await?
        };
        Ok(response.into_inner())
    }

    async fn prepare(
        &mut self,
        method: &MethodDescriptor,
        request: Request<Value>,
    ) -> Result<(http::uri::PathAndQuery, DynamicCodec, Request<DynamicMessage>), Status> {
        if let Err(error) = self.0.ready().await {
            panic!("the channel is broken: {}", error.into());
        }
        let path = format!("/{}", name(method)).parse().expect("a path");
        let request = request.map(|body| message(method.input(), &body));
        Ok((path, DynamicCodec::new(method.output()), request))
    }
}

/// Encodes and decodes messages by their descriptors.
#[derive(Clone)]
pub struct DynamicCodec(MessageDescriptor);

impl DynamicCodec {
    /// Returns a codec that decodes responses as this message.
    pub fn new(output: MessageDescriptor) -> Self {
        Self(output)
    }
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        self.clone()
    }
    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;
    fn encode(&mut self, item: DynamicMessage, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item.encode_to_vec().as_slice());
        Ok(())
    }
}

impl Decoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;
    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = src.copy_to_bytes(src.remaining());
        Ok(Some(
            DynamicMessage::decode(self.0.clone(), bytes).expect("the server encodes what it declares"),
        ))
    }
}
