//! The rules of the architecture, as tables.

/// Only files of services whose path begins with one of `rooms` may name `what`.
pub(super) struct Rule {
    pub(super) what: &'static [&'static str],
    pub(super) rooms: &'static [&'static str],
    pub(super) why: &'static str,
}

pub(super) const ASSEMBLY: [&str; 2] = ["lib.rs", "assembly.rs"];

/// The layers of a service that may use a technology. `lib.rs` assembles the service, so it may use all.
pub(super) const RULES: &[Rule] = &[
    Rule {
        what: &["tonic", "tonic_types", "prost"],
        rooms: &["grpc", "events", "live", "error.rs"],
        why: "protobuf stops at grpc/: decode there and decide on our own types; error.rs maps errors to a status",
    },
    Rule {
        what: &["sea_orm", "sea_orm_migration"],
        rooms: &["storage", "writer", "migrations", "error.rs"],
        why: "the database stops at storage/: other layers pass a connection on and name only its trait",
    },
    Rule {
        what: &["parta_runtime"],
        rooms: &["config.rs", "main.rs"],
        why: "features do not depend on how their process runs",
    },
];

/// The features of each service, in order. A feature may use the features before it. `grpc.rs` is a leaf that
/// may use all.
pub(super) const FEATURES: &[(&str, &[&str])] = &[
    (
        "call-scheduling",
        &["recurrence", "calls", "join", "announcements"],
    ),
    (
        "chat",
        &[
            "talk_policy",
            "entries",
            "audience",
            "chats",
            "messages",
            "archive",
            "live",
        ],
    ),
    ("org-registry", &["organizations", "units", "applications"]),
    ("invitation", &["invitations", "acceptance", "lineage"]),
    (
        "membership",
        &[
            "accounts",
            "delivery",
            "sign_in",
            "member_records",
            "sessions",
            "assignments",
            "enrollments",
            "guardianships",
            "roles",
            "departures",
            "admission",
            "appointments",
            "members",
            "service_accounts",
            "roster_import",
        ],
    ),
];

/// The layers of a feature below its `grpc.rs` use typed ids and no protobuf.
pub(super) const BELOW_GRPC: &[&str] = &["model", "policy", "operations", "queries", "storage"];
pub(super) const WIRE: &[&str] = &["parta_proto", "prost", "tonic", "tonic_types"];

/// The pure layers may not use these, even if another rule allows it.
pub(super) const PURE: &[&str] = &["model", "policy"];
pub(super) const IMPURE: &[&str] = &[
    "tonic",
    "tonic_types",
    "prost",
    "sea_orm",
    "sea_orm_migration",
    "tokio",
    "tokio_util",
    "parta_database",
    "parta_mutations",
    "parta_jobs",
    "parta_grpc",
    "parta_feed",
    "parta_audit",
    "std::fs",
    "std::net",
];

/// Paths that are allowed everywhere: the handle that is passed on, not the technology behind it.
pub(super) const FREE: &[&str] = &["sea_orm::ConnectionTrait"];

/// Files that may break a rule, with a reason. The test fails if an exception is no longer needed.
pub(super) const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "services/invitation/src/acceptance/admission.rs",
        "tonic",
        "calls membership by its generated client and reads the code of a refusal",
    ),
    (
        "services/call-scheduling/src/announcements/chat.rs",
        "tonic",
        "calls chat by its generated client and reads the code of a refusal",
    ),
    (
        "services/org-registry/src/applications/appoint.rs",
        "tonic",
        "calls membership by its generated client and reads the code of a refusal",
    ),
    (
        "services/org-registry/src/applications/appoint.rs",
        "prost",
        "the payload of its job is an encoded message",
    ),
];
