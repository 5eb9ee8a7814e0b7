//! The generated API of invitation: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of invitation.
    InvitationFeed, "invitation", "parta.invitation.v1.InvitationFeedService", InvitationEvent, invitation_event,
    invitation_feed_service_server::InvitationFeedService, invitation_feed_service_client::InvitationFeedServiceClient
);

parta_proto::operator_services!(
    "parta.invitation.v1.Invitation",
    invitation_job_service_server::InvitationJobService,
    invitation_quarantine_service_server::InvitationQuarantineService
);
