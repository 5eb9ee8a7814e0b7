//! The generated API of org-registry: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of org-registry.
    OrgRegistryFeed, "org-registry", "parta.org_registry.v1.OrgRegistryFeedService", OrgRegistryEvent, org_registry_event,
    org_registry_feed_service_server::OrgRegistryFeedService, org_registry_feed_service_client::OrgRegistryFeedServiceClient
);

parta_proto::operator_services!(
    "parta.org_registry.v1.OrgRegistry",
    org_registry_job_service_server::OrgRegistryJobService,
    org_registry_quarantine_service_server::OrgRegistryQuarantineService
);
