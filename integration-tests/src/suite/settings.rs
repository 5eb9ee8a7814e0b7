use parta_testkit::MediaServer;

/// Settings with which a suite uses this media server.
pub(super) fn livekit(media: &MediaServer) -> [(&'static str, String); 3] {
    [
        ("call_scheduling.livekit_url", media.url()),
        ("call_scheduling.livekit_api_key", MediaServer::API_KEY.to_owned()),
        (
            "call_scheduling.livekit_api_secret",
            MediaServer::API_SECRET.to_owned(),
        ),
    ]
}

/// Limits for test suites, all of whose people call from one address.
pub(super) const ONE_NETWORK: [(&str, &str); 4] = [
    ("org_registry.applications_per_hour_of_network", "3600000"),
    ("org_registry.applications_per_hour", "3600000"),
    ("membership.codes_per_hour_of_network", "3600000"),
    ("membership.codes_per_hour", "3600000"),
];
