//! The parts that the packages of the API share: the options, common reasons and feed messages, the codec,
//! and the traits that the crates of the packages implement for their generated types.

extern crate self as parta_proto;

mod codec;
pub mod descriptors;
mod feed_kind;
mod operator_services;
mod times;

pub use codec::{
    CaptureRequest, ProtoCodec, ProtoDecoder, ProtoEncoder, capture_request, captured_request, decoder,
};
pub use descriptors::{Method, Package};
pub use feed_kind::{
    EventMeta, EventPage, EventPayload, FeedChannel, FeedEvent, FeedKind, FeedMessage, FeedStream,
    HeadStream, ServeFeed, WatchItem,
};
#[doc(hidden)]
pub use futures;
pub use operator_services::{ServeJobs, ServeQuarantines};
#[doc(hidden)]
pub use prost;
pub use times::{duration, elapsed, time, timestamp};
#[doc(hidden)]
pub use tonic;

include!(concat!(env!("OUT_DIR"), "/package.rs"));

/// A request of an RPC that changes state.
pub trait MutationRequest: prost::Message + Default {
    /// The caller's name for this act, as it was sent.
    fn request_id(&self) -> &str;
}

/// A documented reason: a value of the `ErrorReason` enum of one package.
pub trait Reason: Copy {
    /// Returns the name of the value without the prefix of the enum, for example `LAST_ADMINISTRATOR`.
    fn text(&self) -> &'static str;
    /// Returns `ErrorInfo.domain`, for example `membership.parta`.
    fn domain() -> &'static str;
    /// Returns the code that the proto documents.
    fn code(&self) -> tonic::Code;
    /// Returns the documented keys of `ErrorInfo.metadata`.
    fn metadata(&self) -> &'static [&'static str];
}
