//! The generated API of call-scheduling: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of call-scheduling.
    CallSchedulingFeed, "call-scheduling", CallSchedulingEvent, call_scheduling_event,
    call_scheduling_feed_service_server::CallSchedulingFeedService, call_scheduling_feed_service_client::CallSchedulingFeedServiceClient
);
