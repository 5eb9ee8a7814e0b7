//! The generated code is a crate for each service package, so that an edit of one package rebuilds only the
//! code that uses it. The messages of times are made by one module.
use std::fs;

use syn::visit::{self, Visit};

use super::{NamedPaths, is_test, root, rules::PROTO_CRATES, sources};

/// Libraries that may export a generated type.
const EXPORTERS: &[&str] = &["grpc", "feed"];
/// Libraries that depend on crates of service packages. An edit of such a package rebuilds them and what
/// depends on them; an edit of another package does not.
const USERS: &[(&str, &[&str])] = &[
    ("roster", &["parta-proto-membership", "parta-proto-org-registry"]),
    // Fetches the keys that verify tokens.
    ("runtime", &["parta-proto-membership"]),
    (
        "service-testkit",
        &[
            "parta-proto-all",
            "parta-proto-membership",
            "parta-proto-org-registry",
        ],
    ),
    ("testkit", &["parta-proto-all"]),
];

#[test]
fn list_of_proto_crates_is_complete() {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("proto/crates")).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        match name.to_str().expect("UTF-8") {
            "build" => {}
            "common" => found.push("parta_proto".to_owned()),
            package => found.push(format!("parta_proto_{}", package.replace('-', "_"))),
        }
    }
    found.sort_unstable();
    assert_eq!(found, PROTO_CRATES);
}

/// An edit of a package must not rebuild the libraries that do not use it.
#[test]
fn libraries_depend_only_on_the_proto_packages_they_use() {
    for entry in fs::read_dir(root().join("libs")).expect("a folder") {
        let entry = entry.expect("an entry");
        let library = entry.file_name().to_string_lossy().into_owned();
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).expect("a manifest");
        let manifest: toml::Table = manifest.parse().expect("TOML");
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        let mut named: Vec<&str> = dependencies
            .into_iter()
            .flat_map(|table| table.keys())
            .map(String::as_str)
            .filter(|name| name.starts_with("parta-proto-"))
            .collect();
        named.sort_unstable();
        let allowed = USERS.iter().find(|(name, _)| *name == library);
        let allowed = allowed.map_or(&[][..], |(_, packages)| packages);
        assert_eq!(named, allowed, "libs/{library}/Cargo.toml");
    }
}

/// Returns the exports of generated types in a source.
fn exported(source: &str) -> Vec<String> {
    let file = syn::parse_file(source).expect("a Rust source");
    let mut exports = NamedPaths::default();
    for item in &file.items {
        if let syn::Item::Use(item) = item
            && !matches!(item.vis, syn::Visibility::Inherited)
        {
            exports.add_use_tree("", &item.tree);
        }
    }
    let is_generated = |path: &&String| {
        let (first, rest) = path.split_once("::").unwrap_or((path, ""));
        PROTO_CRATES.contains(&first) && rest.split("::").any(|part| part == "v1")
    };
    exports.paths.iter().filter(is_generated).cloned().collect()
}

/// Otherwise a layer could use a generated type without naming its crate.
#[test]
fn generated_types_are_not_exported() {
    let of_exporter = |path: &str| {
        let mut parts = path.split('/');
        parts.next() == Some("proto") || parts.next().is_some_and(|owner| EXPORTERS.contains(&owner))
    };
    let found: Vec<String> = sources(false)
        .iter()
        .filter(|(path, _)| !of_exporter(path))
        .flat_map(|(path, source)| {
            exported(source)
                .into_iter()
                .map(move |name| format!("{path}: {name}"))
        })
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert_eq!(
        exported("pub use parta_proto_chat::v1::{Chat, ChatKind as Kind}; use parta_proto::status::v1::X;"),
        ["parta_proto_chat::v1::Chat", "parta_proto_chat::v1::ChatKind"]
    );
}

/// The literals of `Timestamp` and `Duration` in a source.
#[derive(Default)]
struct Literals(usize);

impl<'ast> Visit<'ast> for Literals {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_expr_struct(&mut self, literal: &'ast syn::ExprStruct) {
        let name = literal
            .path
            .segments
            .last()
            .map(|segment| segment.ident.to_string());
        // No other type with such a name has public fields.
        self.0 += usize::from(name.is_some_and(|name| ["Timestamp", "Duration"].contains(&name.as_str())));
        visit::visit_expr_struct(self, literal);
    }
}

fn count_literals(source: &str) -> usize {
    let mut literals = Literals::default();
    literals.visit_file(&syn::parse_file(source).expect("a Rust source"));
    literals.0
}

#[test]
fn messages_of_times_are_made_by_one_module() {
    let by_hand: Vec<_> = sources(false)
        .into_iter()
        .filter(|(path, _)| path.starts_with("libs/") || path.starts_with("services/"))
        .filter(|(path, _)| !path.contains("testkit"))
        .filter(|(_, source)| count_literals(source) > 0)
        .map(|(path, _)| path)
        .collect();
    assert!(
        by_hand.is_empty(),
        "use parta_proto::timestamp or duration: {by_hand:#?}"
    );
    let by_hand = "fn f() { g(Some(prost_types::Timestamp { seconds: 1, nanos: 0 })) }";
    assert_eq!(count_literals(by_hand), 1);
    assert_eq!(count_literals("fn f() -> Duration { Duration::from_secs(1) }"), 0);
}
