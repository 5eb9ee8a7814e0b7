use std::{cell::RefCell, future::Future, marker::PhantomData};

use bytes::{Buf as _, Bytes};
use prost::Message;
use tokio::task::futures::TaskLocalFuture;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_prost::ProstEncoder;

/// Initial size, in bytes, of the buffer for one message. Most messages are smaller. tonic's default of 8
/// KiB in each direction is most of the memory of an idle call.
const INITIAL_BUFFER_BYTES: usize = 512;
/// Messages of a stream that are ready together are written as one frame of at most this many bytes.
const YIELD_THRESHOLD_BYTES: usize = 32 * 1024;

tokio::task_local! {
    static CAPTURED: RefCell<Option<Bytes>>;
}

/// Runs a call of a server so that [`captured_request`] returns the bytes of its request message,
/// decompressed and without the gRPC frame. The edge digests them: a message that is decoded and encoded
/// again loses the fields that this build does not know, so a retry at an older replica would look like
/// another request.
pub fn capture_request<F: Future>(call: F) -> CaptureRequest<F> {
    CAPTURED.scope(RefCell::new(None), call)
}

/// The future of [`capture_request`].
pub type CaptureRequest<F> = TaskLocalFuture<RefCell<Option<Bytes>>, F>;

/// The bytes of the first message that was decoded inside [`capture_request`]; `None` outside of it. Later
/// messages, such as responses of other services, do not replace the first.
pub fn captured_request() -> Option<Bytes> {
    CAPTURED.try_with(|first| first.borrow().clone()).ok().flatten()
}

/// `application/grpc+proto` by prost with buffers of the messages' size. Every client and server uses it.
#[derive(Debug)]
pub struct ProtoCodec<T, U>(PhantomData<fn() -> (T, U)>);

impl<T, U> Default for ProtoCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + 'static, U: Message + Default + 'static> Codec for ProtoCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProtoEncoder<T>;
    type Decoder = ProtoDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProtoEncoder(ProstEncoder::new(settings()))
    }

    fn decoder(&mut self) -> Self::Decoder {
        decoder()
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(INITIAL_BUFFER_BYTES, YIELD_THRESHOLD_BYTES)
}

/// Returns a decoder with buffers of the messages' size.
#[must_use]
pub fn decoder<U>() -> ProtoDecoder<U> {
    ProtoDecoder(PhantomData)
}

/// Decodes messages by prost and keeps the bytes of a request for [`captured_request`].
#[derive(Debug)]
pub struct ProtoDecoder<U>(PhantomData<fn() -> U>);

impl<U: Message + Default> Decoder for ProtoDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        // The error means that nobody captures, which is the normal case.
        let _ = CAPTURED.try_with(|first| {
            first.borrow_mut().get_or_insert_with(|| bytes.clone());
        });
        U::decode(bytes).map(Some).map_err(malformed)
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

#[expect(
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    reason = "the status of tonic's own decoder, which the status layer maps to a documented reason"
)]
fn malformed(error: prost::DecodeError) -> Status {
    Status::internal(error.to_string())
}

/// Encodes messages and grows the buffer at most once per message.
#[derive(Debug)]
pub struct ProtoEncoder<T>(ProstEncoder<T>);

impl<T: Message> Encoder for ProtoEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(item.encoded_len());
        self.0.encode(item, into)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
