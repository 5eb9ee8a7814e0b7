//! The generated API of membership: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of membership.
    MembershipFeed, "membership", "parta.membership.v1.MembershipFeedService", MembershipEvent, membership_event,
    membership_feed_service_server::MembershipFeedService, membership_feed_service_client::MembershipFeedServiceClient
);

parta_proto::operator_services!(
    "parta.membership.v1.Membership",
    membership_job_service_server::MembershipJobService,
    membership_quarantine_service_server::MembershipQuarantineService
);
