use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Room that a call has for a message before it is known how long that is; most are shorter. What tonic takes without a
/// word, 8 KiB in each direction, is most of the memory of a call that waits, and no allocator hands it out at once.
const ROOM: usize = 512;
/// So much of a stream is gathered into one frame of the transport while more is ready.
const GATHER: usize = 32 * 1024;

fn settings() -> BufferSettings {
    BufferSettings::new(ROOM, GATHER)
}

/// `application/grpc+proto` by prost, with buffers of the messages' size; every client and server of the suite has it.
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
        ProtoEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProtoDecoder::default()
    }
}

/// Writes messages, growing the buffer once for each that needs it.
#[derive(Debug)]
pub struct ProtoEncoder<T>(PhantomData<fn(T)>);

impl<T: Message> Encoder for ProtoEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(item.encoded_len());
        item.encode(into)
            .map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

/// Reads messages.
#[derive(Debug)]
pub struct ProtoDecoder<U>(PhantomData<fn() -> U>);

impl<U> Default for ProtoDecoder<U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<U: Message + Default> Decoder for ProtoDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // In the words of tonic's own decoder, by which the layers tell a message that is none from a fault of ours.
        U::decode(from)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}
