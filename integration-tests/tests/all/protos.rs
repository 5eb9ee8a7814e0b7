//! Rules for the protos: comments, names and structure, read from the embedded descriptor set.
#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::collections::{BTreeMap, BTreeSet};

use parta_proto::options::v1::{AccessRule, CallerKind, ReasonRule};
use parta_reasons::DocumentedReasons;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

fn pool() -> &'static DescriptorPool {
    parta_proto_all::descriptor_pool().expect("the descriptor set")
}

fn files() -> impl Iterator<Item = FileDescriptor> {
    pool()
        .files()
        .filter(|file| file.package_name().starts_with("parta."))
}

fn services() -> impl Iterator<Item = ServiceDescriptor> {
    pool()
        .services()
        .filter(|service| service.full_name().starts_with("parta."))
}

pub(crate) fn methods() -> impl Iterator<Item = MethodDescriptor> {
    services().flat_map(|service| service.methods().collect::<Vec<_>>())
}

/// Returns all messages, including nested ones, without map entries.
fn messages() -> impl Iterator<Item = MessageDescriptor> {
    pool()
        .all_messages()
        .filter(|m| m.full_name().starts_with("parta.") && !m.is_map_entry())
}

fn enums() -> impl Iterator<Item = EnumDescriptor> {
    pool().all_enums().filter(|e| e.full_name().starts_with("parta."))
}

fn name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

/// Returns the access rule of an RPC.
pub(crate) fn access(method: &MethodDescriptor) -> Option<AccessRule> {
    let extension = pool()
        .get_extension_by_name("parta.options.v1.access")
        .expect("the option");
    let options = method.options();
    let rule = options
        .has_extension(&extension)
        .then(|| options.get_extension(&extension))?;
    let bytes = rule.as_message()?.encode_to_vec();
    Some(AccessRule::decode(bytes.as_slice()).expect("an access rule"))
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// Returns the comments of a file by the path of the element, as in `SourceCodeInfo`.
fn comments(file: &FileDescriptor) -> BTreeMap<Vec<i32>, String> {
    let info = file
        .file_descriptor_proto()
        .source_code_info
        .as_ref()
        .expect("comments were kept");
    let printed = info
        .location
        .iter()
        .filter(|l| !l.leading_comments().trim().is_empty());
    printed
        .map(|l| (l.path.clone(), l.leading_comments().trim().to_owned()))
        .collect()
}

#[test]
fn proto_elements_all_have_a_comment() {
    let mut elements: Vec<(FileDescriptor, Vec<i32>, String)> = Vec::new();
    for service in services() {
        elements.push((
            service.parent_file(),
            service.path().to_vec(),
            service.full_name().to_owned(),
        ));
        let methods = service
            .methods()
            .map(|m| (m.parent_service().parent_file(), m.path().to_vec(), name(&m)));
        elements.extend(methods);
    }
    for message in messages() {
        elements.push((
            message.parent_file(),
            message.path().to_vec(),
            message.full_name().to_owned(),
        ));
        let fields = message
            .fields()
            .map(|f| (message.parent_file(), f.path().to_vec(), f.full_name().to_owned()));
        elements.extend(fields);
        let real = message.oneofs().filter(|o| !o.is_synthetic());
        elements.extend(real.map(|o| (message.parent_file(), o.path().to_vec(), o.full_name().to_owned())));
    }
    for kind in enums() {
        elements.push((
            kind.parent_file(),
            kind.path().to_vec(),
            kind.full_name().to_owned(),
        ));
        elements.extend(
            kind.values()
                .map(|v| (kind.parent_file(), v.path().to_vec(), v.full_name().to_owned())),
        );
    }
    assert!(elements.len() > 500, "the descriptor set was not read");
    let comments: BTreeMap<String, _> = files().map(|f| (f.name().to_owned(), comments(&f))).collect();
    let silent: Vec<String> = elements
        .into_iter()
        .filter(|(file, path, _)| !comments[file.name()].contains_key(path))
        .map(|(file, _, name)| format!("{}: {name}", file.name()))
        .collect();
    none("without a comment", &silent);
}

/// The first sentence is in the third person: "Accepts an invitation." Where only services may call, the
/// access rule is enough.
#[test]
fn rpc_comments_state_the_effect_and_the_callers() {
    let mut wrong = Vec::new();
    for method in methods() {
        let comments = comments(&method.parent_service().parent_file());
        let Some(comment) = comments.get(method.path()) else {
            continue;
        };
        let verb = comment.split_whitespace().next().unwrap_or("");
        if !verb.ends_with('s') || !verb.starts_with(char::is_uppercase) {
            wrong.push(format!("{} begins with {verb:?}", name(&method)));
        }
        let kinds = access(&method)
            .map(|rule| rule.callers().collect::<Vec<_>>())
            .unwrap_or_default();
        let people = kinds.iter().any(|kind| {
            !matches!(
                kind,
                CallerKind::Service | CallerKind::ServiceForPerson | CallerKind::ServiceAccount
            )
        });
        if people && !comment.contains("Callers:") {
            wrong.push(format!("{} does not say who may call", name(&method)));
        }
    }
    none("comments of RPCs", &wrong);
}

#[test]
fn rpc_comments_list_only_declared_reasons() {
    let reasons = DocumentedReasons::read(pool());
    assert!(reasons.is_ok(), "{}", reasons.expect_err("checked"));
}

#[test]
fn packages_are_versioned_and_match_their_folders() {
    let wrong: Vec<String> = files()
        .filter(|file| {
            let package = file.package_name();
            let version = package.rsplit('.').next().unwrap_or("");
            let versioned = version
                .strip_prefix('v')
                .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()));
            let (folder, leaf) = file.name().rsplit_once('/').unwrap_or(("", file.name()));
            let snake = leaf
                .chars()
                .all(|c| c.is_ascii_lowercase() || c == '_' || c == '.');
            !versioned || folder != package.replace('.', "/") || !snake
        })
        .map(|file| format!("{} has the package {}", file.name(), file.package_name()))
        .collect();
    none("packages and folders", &wrong);
}

#[test]
fn enum_values_have_the_prefix_and_zero_is_unspecified() {
    let mut wrong = Vec::new();
    for kind in enums() {
        let mut prefix = String::new();
        for c in kind.name().chars() {
            if c.is_uppercase() && !prefix.is_empty() {
                prefix.push('_');
            }
            prefix.extend(c.to_uppercase());
        }
        for value in kind.values() {
            let zero = value.number() == 0;
            let fits = value.name().starts_with(&format!("{prefix}_"));
            if !fits || zero != (value.name() == format!("{prefix}_UNSPECIFIED")) {
                wrong.push(format!("{} = {}", value.full_name(), value.number()));
            }
        }
    }
    none("values of enums", &wrong);
}

/// The packages of the messages of services that every package declares under its own name.
const SHARED: [&str; 2] = ["parta.feed.v1", "parta.jobs.v1"];

#[test]
fn requests_and_responses_are_used_by_one_rpc() {
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for method in methods() {
        for (message, suffix) in [(method.input(), "Request"), (method.output(), "Response")] {
            let user = if SHARED.contains(&message.package_name()) {
                method.name().to_owned()
            } else {
                name(&method)
            };
            users
                .entry(message.full_name().to_owned())
                .or_default()
                .insert(user);
            if message.name() != format!("{}{suffix}", method.name()) {
                wrong.push(format!("{} uses {}", name(&method), message.full_name()));
            }
        }
    }
    let shared = users.into_iter().filter(|(_, users)| users.len() > 1);
    wrong.extend(shared.map(|(message, users)| format!("{message} is shared by {users:?}")));
    none("requests and responses", &wrong);
}

#[test]
fn rpcs_all_have_an_access_rule() {
    let mut wrong = Vec::new();
    for method in methods() {
        let name = name(&method);
        let Some(rule) = access(&method) else {
            wrong.push(format!("{name} has no access rule"));
            continue;
        };
        let kinds: Vec<CallerKind> = rule.callers().collect();
        let service = kinds.contains(&CallerKind::Service);
        let for_person = kinds.contains(&CallerKind::ServiceForPerson);
        let internal = method.parent_service().package_name().contains(".internal.");
        for (broken, what) in [
            (kinds.is_empty(), "allows no caller"),
            (
                kinds.contains(&CallerKind::Unspecified),
                "names CALLER_KIND_UNSPECIFIED",
            ),
            (
                (service || for_person) && rule.services.is_empty(),
                "does not say which services call",
            ),
            (
                service && rule.ground.is_empty(),
                "does not state the ground on which a service acts",
            ),
            (
                kinds.contains(&CallerKind::ServiceAccount) && rule.permission.is_empty(),
                "does not say which permission a service account needs",
            ),
            (
                rule.mutation && rule.audited_read,
                "is a mutation and an audited read",
            ),
            (
                internal
                    && kinds
                        .iter()
                        .any(|k| !matches!(k, CallerKind::Service | CallerKind::ServiceForPerson)),
                "is internal and allows callers other than services",
            ),
        ] {
            if broken {
                wrong.push(format!("{name} {what}"));
            }
        }
    }
    none("access rules", &wrong);
}

fn is_text(message: &MessageDescriptor, field: &str) -> bool {
    message
        .get_field_by_name(field)
        .is_some_and(|f| f.kind() == Kind::String && !f.is_list())
}

/// A mutation has both fields, and an RPC with a `request_id` is a mutation.
#[test]
fn mutations_have_request_id_and_consistency_token() {
    let mut wrong = Vec::new();
    for method in methods() {
        let mutation = access(&method).is_some_and(|rule| rule.mutation);
        let first = method.input().fields().find(|f| f.number() == 1);
        let has_id = is_text(&method.input(), "request_id");
        for (broken, what) in [
            (mutation && !has_id, "is a mutation without request_id"),
            (
                mutation && first.is_some_and(|f| f.name() != "request_id"),
                "has another field than request_id as its first",
            ),
            (!mutation && has_id, "has a request_id and is no mutation"),
            (
                mutation && !is_text(&method.output(), "consistency_token"),
                "is a mutation without consistency_token",
            ),
            // A person who enters an organization must not be a stranger to a service that lags behind.
            (
                !mutation
                    && method.name() != "IssueOrganizationToken"
                    && is_text(&method.output(), "consistency_token"),
                "has a consistency_token and is no mutation",
            ),
        ] {
            if broken {
                wrong.push(format!("{} {what}", name(&method)));
            }
        }
    }
    none("mutations", &wrong);
}

#[test]
fn list_rpcs_are_paged() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for method in methods().filter(|m| m.name().starts_with("List")) {
        seen += 1;
        let size = method.input().get_field_by_name("page_size");
        let size = size.is_some_and(|f| f.kind() == Kind::Int32);
        let tokens = is_text(&method.input(), "page_token") && is_text(&method.output(), "next_page_token");
        if !size || !tokens || method.is_server_streaming() {
            wrong.push(name(&method));
        }
    }
    assert!(seen > 10, "the lists were not found");
    none("lists without page_size, page_token, next_page_token", &wrong);
}

/// Timestamp fields are named by their verb. Identifiers are text and name their object.
#[test]
fn field_names_follow_the_style_sheet() {
    let wrong = |field: &FieldDescriptor| {
        let time = matches!(field.kind(), Kind::Message(m) if m.full_name() == "google.protobuf.Timestamp");
        let name = field.name();
        let id = name == "id" || name.ends_with("_id") || name.ends_with("_ids");
        (time && !name.ends_with("_time"))
            || (name.ends_with("_at"))
            || name.starts_with("optional_")
            || (id && field.kind() != Kind::String)
            || name.chars().any(char::is_uppercase)
    };
    let found: Vec<String> = messages()
        .flat_map(|m| m.fields().collect::<Vec<_>>())
        .filter(wrong)
        .map(|f| f.full_name().to_owned())
        .collect();
    none("fields", &found);
}

const CODES: [&str; 13] = [
    "CANCELLED",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "INTERNAL",
    "UNAVAILABLE",
    "UNAUTHENTICATED",
];

#[test]
fn reasons_have_a_code_and_snake_case_keys() {
    let extension = pool()
        .get_extension_by_name("parta.options.v1.reason")
        .expect("the option");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for value in enums()
        .filter(|e| e.name() == "ErrorReason")
        .flat_map(|e| e.values().collect::<Vec<_>>())
    {
        if value.number() == 0 {
            continue;
        }
        seen += 1;
        let options = value.options();
        let rule = options
            .get_extension(&extension)
            .as_message()
            .map(prost::Message::encode_to_vec);
        let rule = ReasonRule::decode(rule.unwrap_or_default().as_slice()).expect("a reason rule");
        let snake = |key: &String| key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if !CODES.contains(&rule.code.as_str()) || !rule.metadata.iter().all(snake) {
            wrong.push(format!("{}: {rule:?}", value.full_name()));
        }
    }
    assert!(seen > 40, "the reasons were not found");
    none("reasons", &wrong);
}

/// Both databases store microseconds, so that a time has the same value before and after it is stored.
#[test]
fn times_are_truncated_to_microseconds() {
    let message = |seconds, nanos| {
        let mut message = parta_proto::timestamp(chrono::DateTime::UNIX_EPOCH);
        (message.seconds, message.nanos) = (seconds, nanos);
        message
    };
    let time = parta_proto::time(&message(1_788_249_600, 123_456_789)).expect("a time");
    assert_eq!(parta_proto::timestamp(time), message(1_788_249_600, 123_456_000));
    for (seconds, nanos) in [(0, -1), (i64::MAX, 0), (i64::MIN, 0)] {
        assert_eq!(
            parta_proto::time(&message(seconds, nanos)),
            None,
            "{seconds} {nanos}"
        );
    }
}
