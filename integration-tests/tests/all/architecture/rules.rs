//! The rules of the architecture, as tables.

/// `what` may be named by files of services whose path begins with one of `rooms`, and by nobody else.
pub(super) struct Rule {
    pub(super) what: &'static [&'static str],
    pub(super) rooms: &'static [&'static str],
    pub(super) why: &'static str,
}

pub(super) const ASSEMBLY: [&str; 2] = ["lib.rs", "assembly.rs"];

/// The rooms of a service that may know a technology. `lib.rs` puts the parts together, so it sees all of them.
pub(super) const RULES: &[Rule] = &[
    Rule {
        what: &["tonic", "tonic_types", "prost"],
        rooms: &["grpc", "events", "live", "error.rs"],
        why: "the wire stops at the door: decode in grpc/, decide on our own types; error.rs maps them to a status",
    },
    Rule {
        what: &["sea_orm", "sea_orm_migration"],
        rooms: &["storage", "writer", "migrations", "error.rs"],
        why: "the database stops at storage/: others pass a connection on, and name the trait of it alone",
    },
    Rule {
        what: &["parta_runtime"],
        rooms: &["config.rs", "main.rs"],
        why: "how a process runs is no business of what it does",
    },
];

/// The features of each service that has been laid out by features, in order: each may name those before it. `grpc.rs` is a
/// leaf that may name all.
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

/// What the layers of a feature below its `grpc.rs` never name: protobuf stops at the entry, ids are typed.
pub(super) const BELOW_GRPC: &[&str] = &["model", "policy", "operations", "queries", "storage"];
pub(super) const WIRE: &[&str] = &["parta_proto", "prost", "tonic", "tonic_types"];

/// What the rooms of the pure heart may never name, whatever the other rules allow.
pub(super) const PURE: &[&str] = &["model", "policy"];
pub(super) const IMPURE: &[&str] = &[
    "tonic",
    "tonic_types",
    "prost",
    "sea_orm",
    "sea_orm_migration",
    "tokio",
    "tokio_util",
    "parta_storage",
    "parta_grpc",
    "parta_feed",
    "parta_audit",
    "std::fs",
    "std::net",
];

/// ConsumerNames that are free everywhere: the handle that is passed on, not the technology behind it.
pub(super) const FREE: &[&str] = &["sea_orm::ConnectionTrait"];

/// Files that may break a rule, each with its reason. An exception that is needed no longer fails the test.
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
