//! The rules of the architecture, as tables.

/// A technology and the layers that may use it. Other files of a service must not name any of the `paths`.
pub(super) struct Rule {
    pub(super) paths: &'static [&'static str],
    pub(super) layers: &'static [&'static str],
    pub(super) reason: &'static str,
}

/// The files that assemble a service. They may use all technologies.
pub(super) const ASSEMBLY_FILES: [&str; 2] = ["lib.rs", "assembly.rs"];

/// The layers that may use each technology.
pub(super) const RULES: &[Rule] = &[
    Rule {
        paths: &["tonic", "tonic_types", "prost"],
        layers: &["grpc", "events", "observers", "feed", "snapshot", "live"],
        reason: "protobuf stops at grpc/: decode there and decide on our own types",
    },
    Rule {
        paths: PROTO_CRATES,
        layers: &["grpc", "events", "observers", "feed", "snapshot", "live"],
        reason: "generated types stop at grpc/ and events: other layers have types of their own, and common \
                 refusals are functions of parta_status",
    },
    Rule {
        paths: &["sea_orm", "sea_orm_migration"],
        layers: &["storage", "writer", "migrations", "error.rs"],
        reason: "the database stops at storage/: other layers only pass a connection and name only its trait",
    },
    Rule {
        paths: &[
            "Decision::Allow",
            "parta_access::Decision::Allow",
            "parta_access::Decision::*",
        ],
        layers: &["policy"],
        reason: "only a policy permits an act; `belongs` and the other functions of parta_access prove less",
    },
    Rule {
        paths: &["parta_runtime"],
        layers: &["config.rs", "main.rs"],
        reason: "features do not depend on how their process runs",
    },
];

/// The features of each service, in order. A feature may use the features before it. `grpc.rs` is a leaf that
/// may use all.
pub(super) const FEATURES: &[(&str, &[&str])] = &[
    (
        "call-scheduling",
        &["recurrence", "rooms", "calls", "join", "announcements"],
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
    (
        "org-registry",
        &["organizations", "policies", "units", "applications"],
    ),
    ("invitation", &["invitations", "acceptance", "lineage"]),
    (
        "membership",
        &[
            "accounts",
            "delivery",
            "notices",
            "sign_in",
            "member_records",
            "sessions",
            "contact_changes",
            "endings",
            "orders",
            "assignments",
            "enrollments",
            "guardianships",
            "one_time_codes",
            "suspensions",
            "duties",
            "acting_heads",
            "roles",
            "departures",
            "join_requests",
            "admission",
            "appointments",
            "names",
            "members",
            "service_accounts",
            "revocations",
            "roster_import",
            "end_due",
            "notice_delivery",
            "restored",
        ],
    ),
];

/// The layers of a feature below its `grpc.rs` use typed ids and no protobuf.
pub(super) const LAYERS_BELOW_GRPC: &[&str] = &["model", "policy", "operations", "queries", "storage"];
pub(super) const PROTOCOL_CRATES: &[&str] = &["prost", "tonic", "tonic_types"];

/// The crates of generated code, which those layers may not use either.
pub(super) const PROTO_CRATES: &[&str] = &[
    "parta_proto",
    "parta_proto_all",
    "parta_proto_call_scheduling",
    "parta_proto_chat",
    "parta_proto_invitation",
    "parta_proto_membership",
    "parta_proto_org_registry",
];

/// The model and the policy are pure functions. Of the standard library and of all crates they may name only
/// what is within [`ALLOWED_IN_PURE_LAYERS`]: values, and no I/O, no clock and no database.
pub(super) const PURE_LAYERS: &[&str] = &["model", "policy"];
pub(super) const ALLOWED_IN_PURE_LAYERS: &[&str] = &[
    "base64",
    "chrono::DateTime",
    "chrono::Datelike",
    "chrono::NaiveDate",
    "chrono::NaiveDateTime",
    "chrono::NaiveTime",
    "chrono::Offset",
    "chrono::TimeDelta",
    "chrono::TimeZone",
    "chrono::Utc",
    "chrono_tz",
    "parta_access::Decision",
    "parta_access::PermissionRule",
    "parta_access::PrincipalKind",
    "parta_access::Revoked",
    "parta_access::ServiceAccountPermission",
    "parta_contacts",
    "parta_ids",
    "parta_roster::Child",
    "parta_roster::DutyFunction",
    "parta_roster::DutyKind",
    "parta_roster::DutyScope",
    "parta_roster::HistoryForNewcomers",
    "parta_roster::LimitedChild",
    "parta_roster::MemberContext",
    "parta_roster::Policies",
    "parta_roster::RelationKind",
    "parta_roster::RelationLimit",
    "parta_roster::RelationLimits",
    "parta_roster::Role",
    "parta_roster::State",
    "parta_roster::UnitGround",
    "parta_roster::UnitKind",
    "parta_roster::school_year_begin",
    "parta_status::permission_denied",
    "rrule",
    "serde",
    "sha2",
    "std::collections",
    "std::ops::RangeInclusive",
    "std::time::Duration",
    "unicode_security",
];

/// Generated types that `error.rs` of a service or feature may name: the reasons of its refusals.
pub(super) const REASONS: &str = "ErrorReason";

/// Paths that every layer may name: a connection that is only passed to storage.
pub(super) const ALWAYS_ALLOWED: &[&str] = &["sea_orm::ConnectionTrait"];

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
        "services/invitation/src/acceptance/admission.rs",
        "parta_proto_membership",
        "calls membership by its generated client",
    ),
    (
        "services/call-scheduling/src/announcements/chat.rs",
        "parta_proto_chat",
        "calls chat by its generated client",
    ),
    (
        "services/chat/src/messages/names.rs",
        "tonic",
        "calls membership by its generated client and reads the code of a refusal",
    ),
    (
        "services/chat/src/messages/names.rs",
        "parta_proto_membership",
        "calls membership by its generated client",
    ),
    (
        "services/org-registry/src/applications/appoint.rs",
        "parta_proto_membership",
        "calls membership by its generated client",
    ),
];
