//! The generated API of invitation: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of invitation.
    InvitationFeed, "invitation", "parta.invitation.v1.InvitationFeedService", InvitationEvent, invitation_event,
    invitation_feed_service_server::InvitationFeedService, invitation_feed_service_client::InvitationFeedServiceClient
);

parta_proto::job_api!(
    /// The jobs of invitation.
    InvitationJobs, "invitation", "parta.invitation.v1.InvitationJobService",
    invitation_job_service_server::InvitationJobService, invitation_job_service_client::InvitationJobServiceClient
);

parta_proto::quarantine_api!(
    /// The consumers and quarantines of invitation.
    InvitationQuarantines, "invitation", "parta.invitation.v1.InvitationQuarantineService",
    invitation_quarantine_service_server::InvitationQuarantineService,
    invitation_quarantine_service_client::InvitationQuarantineServiceClient
);
