//! Checks the dependency rules of the source tree. The rules are tables. The paths that sources name are read
//! with syn. Test code is ignored.
#![expect(clippy::expect_used, reason = "a test may panic")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

mod cycles;
mod databases;
mod names;
mod paths;
mod protos;
mod resolve;
mod rules;
mod scopes;
mod sql;
mod tables;

use paths::NamedPaths;
pub(crate) use paths::is_test;
use rules::{
    ALLOWED_IN_PURE_LAYERS, ASSEMBLY_FILES, EXCEPTIONS, FEATURES, LAYERS_BELOW_GRPC, PROTO_CRATES,
    PROTOCOL_CRATES, PURE_LAYERS, RULES,
};

const SERVICES: [&str; 5] = [
    "org-registry",
    "invitation",
    "membership",
    "chat",
    "call-scheduling",
];
/// Maximum number of lines of a file. Longer files become folders.
const MAX_LINES: usize = 500;

/// Returns the crate name of a service in Rust.
fn crate_name(service: &str) -> String {
    format!("parta_{}", service.replace('-', "_"))
}

/// The crates that a file of a service can name: the standard library and the dependencies in the manifests.
static CRATES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let standard = ["std", "core", "alloc"].map(str::to_owned);
    let of_service = |service: &str| {
        let manifest = manifest(&root().join("services").join(service));
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        let dependencies = dependencies.expect("dependencies").keys();
        dependencies
            .map(|name| name.replace('-', "_"))
            .collect::<Vec<_>>()
    };
    let dependencies = SERVICES.into_iter().flat_map(of_service);
    standard.into_iter().chain(dependencies).collect()
});

/// Reads the manifest in a folder.
fn manifest(folder: &Path) -> toml::Table {
    let text = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    text.parse().expect("TOML")
}

/// Returns whether a file, given by its path within a feature, belongs to one of these layers.
fn is_in_layer(file: &str, layers: &[&str]) -> bool {
    layers.iter().any(|layer| {
        file.strip_prefix(layer)
            .is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
    })
}

/// Returns the violations of one file, given by its path from the root.
fn violations(path: &str, source: &str) -> Vec<String> {
    let mut named = NamedPaths::of(source);
    if path.ends_with("/error.rs") {
        named = named.without_reasons();
    }
    let mut violations = Vec::new();
    let mut forbid = |prefix: &str, reason: &str| {
        if let Some(name) = named.within(prefix)
            && !EXCEPTIONS
                .iter()
                .any(|(file, excepted, _)| *file == path && *excepted == prefix)
        {
            violations.push(format!("{path} names {name}: {reason}"));
        }
    };
    let mut parts = path.splitn(4, '/');
    let (area, owner, _, file) = (
        parts.next().unwrap_or(""),
        parts.next().unwrap_or(""),
        parts.next(),
        parts.next().unwrap_or(""),
    );
    for service in SERVICES {
        match area {
            "libs" | "proto" => forbid(
                &crate_name(service),
                "code that services share must not depend on a service",
            ),
            "services" if owner != service && owner != "parta" => {
                forbid(
                    &crate_name(service),
                    "services communicate by RPC and feed and must not link each other",
                );
            }
            _ => {}
        }
    }
    if !["testkit", "service-testkit"].contains(&owner) {
        let reason = "only tests may use the testkits";
        forbid("parta_service_testkit", reason);
        if area == "libs" {
            forbid("parta_testkit", reason);
        }
    }
    if area != "services" || owner == "parta" {
        return violations;
    }
    // A layer is a file or folder of the service, or of one of its features.
    let features = FEATURES.iter().find(|(service, _)| *service == owner);
    let features = features.map_or(&[][..], |(_, features)| features);
    let feature = file
        .split_once('/')
        .filter(|(folder, _)| features.contains(folder));
    // `live` of chat is a layer too, because it encodes each entry once for all subscribers.
    let file = feature.map_or(file, |(name, layer)| if name == "live" { file } else { layer });
    let is_in = |layers: &[&str]| is_in_layer(file, layers);
    if let Some((own, _)) = feature {
        if is_in(LAYERS_BELOW_GRPC) {
            let reason = "only grpc.rs and events.rs of a feature may use protobuf; ids are typed";
            let crates = PROTOCOL_CRATES.iter().chain(PROTO_CRATES);
            crates.for_each(|prefix| forbid(prefix, reason));
        }
        let later = features.iter().skip_while(|name| **name != own).skip(1);
        for later in later.filter(|_| !is_in(&["grpc"])) {
            forbid(
                &format!("crate::{later}"),
                "a feature may use only features that are listed before it",
            );
        }
    }
    for rule in RULES {
        if !is_in(rule.layers) && !is_in(&ASSEMBLY_FILES) {
            rule.paths.iter().for_each(|prefix| forbid(prefix, rule.reason));
        }
    }
    if is_in(PURE_LAYERS) {
        let outside = named.outside(&CRATES, ALLOWED_IN_PURE_LAYERS);
        violations.extend(outside.map(|name| {
            format!(
                "{path} names {name}: the model and the policy may use only what ALLOWED_IN_PURE_LAYERS lists"
            )
        }));
    }
    violations
}

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("the workspace").to_path_buf()
}

/// Returns the Rust sources by their path from the root, with or without tests.
fn sources(with_tests: bool) -> Vec<(String, String)> {
    let root = root();
    let mut sources = Vec::new();
    for area in ["libs", "services", "proto", "xtask", "integration-tests", "bench"] {
        let entries = walkdir::WalkDir::new(root.join(area))
            .into_iter()
            .filter_entry(|entry| {
                let name = entry.file_name().to_string_lossy();
                let is_test_code = name == "tests" || name == "tests.rs" || name == "benches";
                name != "target" && (with_tests || !is_test_code)
            });
        for entry in entries {
            let entry = entry.expect("a readable tree");
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "rs")
            {
                let path = entry
                    .path()
                    .strip_prefix(&root)
                    .expect("the path is below the root")
                    .to_string_lossy()
                    .into_owned();
                sources.push((path, fs::read_to_string(entry.path()).expect("a readable file")));
            }
        }
    }
    assert!(sources.len() > 100, "too few sources were found");
    sources
}

#[test]
fn forbidden_dependencies_are_rejected() {
    let found: Vec<String> = sources(false)
        .iter()
        .flat_map(|(path, source)| violations(path, source))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn dependency_exceptions_are_all_needed() {
    let sources = sources(false);
    let stale: Vec<_> = EXCEPTIONS
        .iter()
        .filter(|(file, prefix, _)| {
            let source = sources.iter().find(|(path, _)| path == file);
            source.is_none_or(|(_, source)| NamedPaths::of(source).within(prefix).is_none())
        })
        .collect();
    assert!(stale.is_empty(), "exceptions are no longer needed: {stale:?}");
}

#[test]
fn allowed_paths_of_pure_layers_are_all_used() {
    let mut named = BTreeSet::new();
    for (path, source) in sources(false) {
        let layer = path
            .strip_prefix("services/")
            .and_then(|path| path.split_once("/src/"));
        let Some((_, file)) = layer else { continue };
        if file
            .split_once('/')
            .is_some_and(|(_, file)| is_in_layer(file, PURE_LAYERS))
        {
            named.extend(NamedPaths::of(&source).paths);
        }
    }
    let is_used = |prefix: &str| {
        let inner = format!("{prefix}::");
        named
            .iter()
            .any(|path| path == prefix || path.starts_with(&inner))
    };
    let mut unused = ALLOWED_IN_PURE_LAYERS.to_vec();
    unused.retain(|prefix| !is_used(prefix));
    assert!(unused.is_empty(), "no model and no policy uses {unused:?}");
}

/// Manifests are checked too, so that a forbidden dependency is found before a source uses it.
#[test]
fn manifests_have_no_forbidden_dependencies() {
    for folder in ["libs", "services"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let owner = entry.file_name().to_string_lossy().into_owned();
            if owner == "parta" {
                continue;
            }
            let manifest = manifest(&entry.path());
            let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
            for service in SERVICES.into_iter().filter(|service| *service != owner) {
                let dependency = format!("parta-{service}");
                assert!(
                    !dependencies.is_some_and(|d| d.contains_key(&dependency)),
                    "{folder}/{owner} depends on {dependency}"
                );
            }
        }
    }
}

#[test]
fn source_files_are_at_most_500_lines_long() {
    let long: Vec<String> = sources(true)
        .iter()
        .map(|(path, source)| (path, source.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines, more than {MAX_LINES}"))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn violations_are_found_in_all_kinds_of_paths() {
    for (path, source, name) in [
        ("libs/feed/src/a.rs", "use parta_chat::model;", "parta_chat"),
        (
            "services/chat/src/a.rs",
            "fn a() { parta_membership::build() }",
            "parta_membership",
        ),
        (
            "services/chat/src/main.rs",
            "use parta_org_registry as registry;",
            "parta_org_registry",
        ),
        (
            "services/chat/src/messages/operations/send.rs",
            "use tonic::{Code, Status};",
            "tonic",
        ),
        (
            "services/chat/src/chats/operations/queries.rs",
            "fn a(status: Option<tonic::Status>) {}",
            "tonic",
        ),
        (
            "services/chat/src/chats/operations/queries.rs",
            "fn a() { wrap!(Err(tonic::Status::ok(\"\"))) }",
            "tonic",
        ),
        (
            "services/chat/src/chats/operations/queries.rs",
            "use sea_orm::{ConnectionTrait, EntityTrait};",
            "sea_orm::EntityTrait",
        ),
        (
            "services/chat/src/entries/model.rs",
            "use tokio::sync::Mutex;",
            "tokio",
        ),
        (
            "services/membership/src/guardianships/operations.rs",
            "use parta_proto_membership::v1::Guardianship;",
            "parta_proto_membership",
        ),
        (
            "services/membership/src/guardianships/model.rs",
            "use sea_orm::EntityTrait;",
            "sea_orm",
        ),
        (
            "services/chat/src/chats/model.rs",
            "use sea_orm::ActiveValue;",
            "sea_orm",
        ),
        (
            "services/chat/src/chats/policy.rs",
            "fn a() { std::fs::read(\"a\"); }",
            "std::fs",
        ),
        (
            "services/chat/src/chats/policy.rs",
            "fn a() { tracing::info!(\"a\"); }",
            "tracing::info",
        ),
        (
            "services/chat/src/chats/policy.rs",
            "use parta_roster::{MemberContext, Roster};",
            "parta_roster::Roster",
        ),
        (
            "services/chat/src/chats/operations/mod.rs",
            "use parta_runtime::Service;",
            "parta_runtime",
        ),
        (
            "services/chat/src/chats/operations/mod.rs",
            "fn a() { authorize(caller, org, Decision::Allow) }",
            "Decision::Allow",
        ),
        (
            "services/chat/src/context.rs",
            "use parta_access::Decision::Allow;",
            "Decision::Allow",
        ),
        (
            "services/chat/src/context.rs",
            "use parta_proto::status::v1::ErrorReason;",
            "parta_proto",
        ),
        (
            "services/chat/src/messages/writer/mod.rs",
            "use parta_proto::status::v1::ErrorReason;",
            "parta_proto",
        ),
        (
            "services/chat/src/chats/error.rs",
            "use parta_proto_chat::v1::{Chat, ErrorReason};",
            "parta_proto_chat::v1::Chat",
        ),
        (
            "services/chat/src/error.rs",
            "fn a() { tonic::Code::Ok; }",
            "tonic",
        ),
        (
            "libs/database/src/a.rs",
            "use parta_testkit::TestDatabase;",
            "parta_testkit",
        ),
    ] {
        let found = violations(path, source);
        assert!(
            found.iter().any(|line| line.contains(name)),
            "{path}: {source}: {found:?}"
        );
    }
}

#[test]
fn allowed_dependencies_pass() {
    for (path, source) in [
        ("services/chat/src/messages/grpc.rs", "use tonic::Status;"),
        ("services/chat/src/live/stream.rs", "use tonic::Status;"),
        (
            "services/membership/src/guardianships/grpc.rs",
            "use tonic::Status;",
        ),
        (
            "services/membership/src/guardianships/storage.rs",
            "use sea_orm::EntityTrait;",
        ),
        (
            "services/chat/src/entries/storage/chats.rs",
            "use sea_orm::EntityTrait;",
        ),
        (
            "services/chat/src/chats/operations/mod.rs",
            "use sea_orm::ConnectionTrait;",
        ),
        (
            "services/chat/src/chats/policy.rs",
            "fn a() -> Decision { Decision::Allow }",
        ),
        (
            "services/chat/src/error.rs",
            "use parta_proto_chat::v1::ErrorReason; impl From<Error> for tonic::Status {}",
        ),
        (
            "services/chat/src/chats/error.rs",
            "use parta_proto::status::v1::ErrorReason as Common; fn a() { ErrorReason::ChatArchived }",
        ),
        ("services/chat/src/lib.rs", "use tonic::service::Routes;"),
        (
            "services/chat/src/entries/model.rs",
            "use std::collections::BTreeSet; use parta_chat::Seq;",
        ),
        (
            "services/parta/src/main.rs",
            "use parta_chat::service; use parta_membership::service as other;",
        ),
        (
            "services/chat/src/chats/operations/queries.rs",
            "#[cfg(test)] mod tests { use tonic::Code; }",
        ),
    ] {
        assert_eq!(violations(path, source), Vec::<String>::new(), "{path}: {source}");
    }
}

#[test]
fn documents_list_the_features_in_order() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("a readable file");
    let architecture = read("ARCHITECTURE.md");
    for (service, features) in FEATURES {
        let quoted: Vec<String> = features.iter().map(|name| format!("`{name}`")).collect();
        let row = format!("| {service} | {} |", quoted.join(", "));
        assert!(
            architecture.contains(&row),
            "ARCHITECTURE.md has not the row {row}"
        );
        let readme = read(&format!("services/{service}/README.md"));
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows = rows.filter_map(|row| row.split('`').next());
        let rows: Vec<&str> = rows.filter(|name| features.contains(name)).collect();
        assert_eq!(rows, *features, "services/{service}/README.md");
        let library = read(&format!("services/{service}/src/lib.rs"));
        let comment = library.lines().take_while(|line| line.starts_with("//!"));
        let comment: Vec<&str> = comment
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .collect();
        let named: Vec<&str> = comment
            .into_iter()
            .filter(|name| features.contains(name))
            .collect();
        assert_eq!(named, *features, "services/{service}/src/lib.rs");
    }
}
