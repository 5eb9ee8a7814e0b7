//! The generated API of call-scheduling: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of call-scheduling.
    CallSchedulingFeed, "call-scheduling", "parta.call_scheduling.v1.CallSchedulingFeedService", CallSchedulingEvent, call_scheduling_event,
    call_scheduling_feed_service_server::CallSchedulingFeedService, call_scheduling_feed_service_client::CallSchedulingFeedServiceClient
);

parta_proto::operator_services!(
    "parta.call_scheduling.v1.CallScheduling",
    call_scheduling_job_service_server::CallSchedulingJobService,
    call_scheduling_quarantine_service_server::CallSchedulingQuarantineService
);
