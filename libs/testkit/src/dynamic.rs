//! Calls any RPC of the suite by its name, with JSON in and JSON out: for tests over the whole descriptor
//! set.

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

/// An RPC of the descriptor set by its full name `parta.x.v1.Service/Method`.
pub fn method(rpc: &str) -> MethodDescriptor {
    let pool = parta_proto::descriptor_pool().expect("the descriptor set");
    let (service, method) = rpc.split_once('/').expect("Service/Method");
    let service = pool.get_service_by_name(service).expect("a service of the suite");
    service
        .methods()
        .find(|m| m.name() == method)
        .expect("a method of the service")
}

/// Every RPC of the suite, public and internal.
pub fn all_methods() -> Vec<MethodDescriptor> {
    let pool = parta_proto::descriptor_pool().expect("the descriptor set");
    let ours = pool.services().filter(|s| s.full_name().starts_with("parta."));
    ours.flat_map(|s| s.methods().collect::<Vec<_>>()).collect()
}

/// The full name of an RPC, as [`method`] takes it.
pub fn name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

/// A message from its JSON form.
pub fn message(descriptor: MessageDescriptor, json: &Value) -> DynamicMessage {
    let text = json.to_string();
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    DynamicMessage::deserialize(descriptor, &mut deserializer).expect("JSON that fits the message")
}

/// The JSON form of a message, with the proto's own field names.
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

/// Calls RPCs by name over any channel: the network, or a pipe inside the process.
#[derive(Clone)]
pub struct DynamicClient<T>(Grpc<T>);

impl<T> DynamicClient<T>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    /// A client of everything behind the channel.
    pub fn new(channel: T) -> Self {
        Self(Grpc::new(channel))
    }

    /// Calls an RPC that gives one answer. The request's metadata and extensions travel along; where the
    /// RPC takes a stream, it gets the one message.
    pub async fn call(&mut self, rpc: &str, request: Request<Value>) -> Result<Value, Status> {
        let method = method(rpc);
        assert!(
            !method.is_server_streaming(),
            "{rpc} answers a stream: use `open`"
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

    /// Opens an RPC that answers a stream.
    pub async fn open(
        &mut self,
        rpc: &str,
        request: Request<Value>,
    ) -> Result<Streaming<DynamicMessage>, Status> {
        let method = method(rpc);
        assert!(method.is_server_streaming(), "{rpc} gives one answer: use `call`");
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

/// Encodes and decodes messages that are known by their descriptor alone.
#[derive(Clone)]
pub struct DynamicCodec(MessageDescriptor);

impl DynamicCodec {
    /// A codec whose answers are of this message.
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
