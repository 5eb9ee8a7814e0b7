//! The generated API of org-registry: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of org-registry.
    OrgRegistryFeed, "org-registry", OrgRegistryEvent, org_registry_event,
    org_registry_feed_service_server::OrgRegistryFeedService, org_registry_feed_service_client::OrgRegistryFeedServiceClient
);
