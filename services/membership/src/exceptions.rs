//! RPCs that do not pass the edge (`libs/edge`), each with its reason. Feeds, which `libs/feed` serves for
//! every service, are not listed.

/// The full name of an RPC and the reason why it does not pass the edge.
pub const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "parta.membership.v1.AuthenticationService/GetJwks",
        "returns the public keys of the issuer, which are in memory: there is nothing to authorize or to read",
    ),
    (
        "parta.membership.internal.v1.RevocationService/GetRevocations",
        "one list is read for all callers, each of which is a service: there is nothing to authorize",
    ),
];
