//! The generated API of the suite: messages, clients, servers and the descriptor set. No logic lives here.

mod codec;

pub use codec::{
    CaptureRequest, ProtoCodec, ProtoDecoder, ProtoEncoder, capture_request, captured_request, decoder,
};

#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated; the protos carry the comments"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/parta.rs"));
}
pub use generated::parta;

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

/// The encoded `FileDescriptorSet` of the whole suite with comments and extension options, for reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// A request of an RPC that changes state.
pub trait MutationRequest: prost::Message + Default {
    /// The caller's name for this act, as it was sent.
    fn request_id(&self) -> &str;
}

/// The descriptor pool of the suite, decoded once. `None` would mean that the build embedded a broken set.
pub fn descriptor_pool() -> Option<&'static prost_reflect::DescriptorPool> {
    static POOL: std::sync::OnceLock<Option<prost_reflect::DescriptorPool>> = std::sync::OnceLock::new();
    POOL.get_or_init(|| prost_reflect::DescriptorPool::decode(DESCRIPTOR_SET).ok())
        .as_ref()
}
