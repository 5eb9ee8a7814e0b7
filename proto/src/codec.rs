use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
};
use tonic_prost::{ProstDecoder, ProstEncoder};

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
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProtoEncoder(ProstEncoder::new(settings()))
    }

    fn decoder(&mut self) -> Self::Decoder {
        decoder()
    }
}

/// Reads messages into buffers of their size.
#[must_use]
pub fn decoder<U>() -> ProstDecoder<U> {
    ProstDecoder::new(settings())
}

/// Writes messages, growing the buffer once for each that needs it.
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
