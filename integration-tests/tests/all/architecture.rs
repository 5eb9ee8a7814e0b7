//! Dependency rules of the source tree. The rules are tables. The paths that sources name are read with syn,
//! without tests.
#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

mod cycles;
mod names;
mod rules;
mod sql;

use rules::{ASSEMBLY, BELOW_GRPC, EXCEPTIONS, FEATURES, FREE, IMPURE, PURE, RULES, WIRE};

const SERVICES: [&str; 5] = [
    "org-registry",
    "invitation",
    "membership",
    "chat",
    "call-scheduling",
];
/// Maximum number of lines of a file. Longer files become folders.
const MOST_LINES: usize = 500;

/// The paths that a source names outside itself, for example `tonic::Status` and `sea_orm::ConnectionTrait`.
#[derive(Default)]
struct Named(BTreeSet<String>);

impl Named {
    fn of(source: &str) -> Self {
        let file = syn::parse_file(source).expect("a Rust source");
        let mut named = Self::default();
        named.visit_file(&file);
        named
    }

    /// Returns the first path that equals `what` or lies within it.
    fn within(&self, what: &str) -> Option<&String> {
        let inner = format!("{what}::");
        self.0
            .iter()
            .filter(|path| !FREE.contains(&path.as_str()))
            .find(|path| *path == what || path.starts_with(&inner))
    }

    fn tree(&mut self, before: &str, tree: &syn::UseTree) {
        let join = |name: &syn::Ident| {
            if before.is_empty() {
                name.to_string()
            } else {
                format!("{before}::{name}")
            }
        };
        match tree {
            syn::UseTree::Path(path) => self.tree(&join(&path.ident), &path.tree),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(before, item)),
            syn::UseTree::Name(name) if name.ident == "self" => drop(self.0.insert(before.to_owned())),
            syn::UseTree::Name(name) => drop(self.0.insert(join(&name.ident))),
            syn::UseTree::Rename(rename) => drop(self.0.insert(join(&rename.ident))),
            syn::UseTree::Glob(_) => drop(self.0.insert(format!("{before}::*"))),
        }
    }

    /// Macros are not parsed. Words with `::` in their text count as paths.
    fn text(&mut self, tokens: &str) {
        let joined = tokens.replace(" :: ", "::");
        let words = joined.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        self.0
            .extend(words.filter(|word| word.contains("::")).map(str::to_owned));
    }
}

impl<'ast> Visit<'ast> for Named {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree("", &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.0.insert(names.join("::"));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.text(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }
}

fn is_test(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// Returns the crate name of a service in Rust.
fn crate_name(service: &str) -> String {
    format!("parta_{}", service.replace('-', "_"))
}

/// Returns the violations of one file, given by its path from the root.
fn violations(path: &str, source: &str) -> Vec<String> {
    let named = Named::of(source);
    let mut found = Vec::new();
    let mut blame = |what: &str, why: &str| {
        if let Some(name) = named.within(what)
            && !EXCEPTIONS
                .iter()
                .any(|(file, of, _)| *file == path && *of == what)
        {
            found.push(format!("{path} names {name}: {why}"));
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
            "libs" | "proto" => blame(&crate_name(service), "what services share knows no service"),
            "services" if owner != service && owner != "parta" => {
                blame(
                    &crate_name(service),
                    "services speak by RPC and by feed, never by linking",
                );
            }
            _ => {}
        }
    }
    if !["testkit", "service-testkit"].contains(&owner) {
        let why = "tests' tools stay in tests";
        blame("parta_service_testkit", why);
        if area == "libs" {
            blame("parta_testkit", why);
        }
    }
    if area != "services" || owner == "parta" {
        return found;
    }
    // A layer is a file or folder of the service, or of one of its features.
    let features = FEATURES.iter().find(|(service, _)| *service == owner);
    let features = features.map_or(&[][..], |(_, features)| features);
    let feature = file
        .split_once('/')
        .filter(|(folder, _)| features.contains(folder));
    // `live` of chat is a layer too, because it encodes each entry once for all subscribers.
    let file = feature.map_or(file, |(name, layer)| if name == "live" { file } else { layer });
    let room = |rooms: &[&str]| {
        rooms.iter().any(|room| {
            file.strip_prefix(room)
                .is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
        })
    };
    if let Some((own, _)) = feature {
        if room(BELOW_GRPC) {
            let why = "protobuf stops at grpc.rs and events.rs of a feature; ids are typed";
            WIRE.iter().for_each(|what| blame(what, why));
        }
        let later = features.iter().skip_while(|name| **name != own).skip(1);
        for later in later.filter(|_| !room(&["grpc"])) {
            blame(
                &format!("crate::{later}"),
                "a feature names only features before it",
            );
        }
    }
    for rule in RULES {
        if !room(rule.rooms) && !room(&ASSEMBLY) {
            rule.what.iter().for_each(|what| blame(what, rule.why));
        }
    }
    if room(PURE) {
        let why = "the model and the policy are true on paper: no I/O, no wire";
        IMPURE.iter().for_each(|what| blame(what, why));
    }
    found
}

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("the workspace").to_path_buf()
}

/// Returns the Rust sources by their path from the root, with or without tests.
fn sources(with_tests: bool) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for area in ["libs", "services", "proto", "xtask", "integration-tests", "bench"] {
        let entries = walkdir::WalkDir::new(root.join(area))
            .into_iter()
            .filter_entry(|entry| {
                let name = entry.file_name().to_string_lossy();
                let tests = name == "tests" || name == "tests.rs" || name == "benches";
                name != "target" && (with_tests || !tests)
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
                    .expect("it lies below")
                    .to_string_lossy()
                    .into_owned();
                found.push((path, fs::read_to_string(entry.path()).expect("a readable file")));
            }
        }
    }
    assert!(found.len() > 100, "the sources were not found");
    found
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
        .filter(|(file, what, _)| {
            let source = sources.iter().find(|(path, _)| path == file);
            source.is_none_or(|(_, source)| Named::of(source).within(what).is_none())
        })
        .collect();
    assert!(stale.is_empty(), "exceptions are no longer needed: {stale:?}");
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
            let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).expect("a manifest");
            let manifest: toml::Table = manifest.parse().expect("TOML");
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
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines, more than {MOST_LINES}"))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn violations_are_found_in_every_form_of_path() {
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
            "use parta_proto::parta::membership::v1::Guardianship;",
            "parta_proto",
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
            "services/chat/src/chats/operations/mod.rs",
            "use parta_runtime::Service;",
            "parta_runtime",
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
