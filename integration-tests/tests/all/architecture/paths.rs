//! Reads the paths that a source names.
use std::collections::BTreeSet;

use syn::visit::{self, Visit};

use super::rules::{ALWAYS_ALLOWED, REASONS};

/// The paths that a source names outside itself, for example `tonic::Status` and `sea_orm::ConnectionTrait`.
#[derive(Default)]
pub(super) struct NamedPaths {
    pub(super) paths: BTreeSet<String>,
    /// Whether test code counts.
    with_tests: bool,
}

impl NamedPaths {
    pub(super) fn of(source: &str) -> Self {
        Self::read(source, false)
    }

    pub(super) fn with_tests(source: &str) -> Self {
        Self::read(source, true)
    }

    fn read(source: &str, with_tests: bool) -> Self {
        let file = syn::parse_file(source).expect("a Rust source");
        let mut named = Self {
            with_tests,
            ..Self::default()
        };
        named.visit_file(&file);
        named
    }

    /// Whether a path ends with these names.
    pub(super) fn names(&self, end: &str) -> bool {
        let inner = format!("::{end}");
        self.paths
            .iter()
            .any(|path| path == end || path.ends_with(&inner))
    }

    /// Returns the first path that equals `prefix` or is within it.
    pub(super) fn within(&self, prefix: &str) -> Option<&String> {
        let inner = format!("{prefix}::");
        self.paths
            .iter()
            .filter(|path| !ALWAYS_ALLOWED.contains(&path.as_str()))
            .find(|path| *path == prefix || path.starts_with(&inner))
    }

    /// Returns the paths into one of these crates that are within none of the allowed paths.
    pub(super) fn outside<'a>(
        &'a self,
        crates: &'a BTreeSet<String>,
        allowed: &'a [&str],
    ) -> impl Iterator<Item = &'a String> {
        let is_within = |path: &str, prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        self.paths
            .iter()
            .filter(|path| {
                let (first, _) = path.split_once("::").unwrap_or((path, ""));
                crates.contains(first)
            })
            .filter(move |path| !allowed.iter().any(|prefix| is_within(path, prefix)))
    }

    /// Removes the reasons of refusals, and the status to which an error is converted.
    pub(super) fn without_reasons(mut self) -> Self {
        self.paths
            .retain(|path| path != "tonic::Status" && !path.split("::").any(|name| name == REASONS));
        self
    }

    pub(super) fn add_use_tree(&mut self, prefix: &str, tree: &syn::UseTree) {
        let join = |name: &syn::Ident| {
            if prefix.is_empty() {
                name.to_string()
            } else {
                format!("{prefix}::{name}")
            }
        };
        match tree {
            syn::UseTree::Path(path) => self.add_use_tree(&join(&path.ident), &path.tree),
            syn::UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|item| self.add_use_tree(prefix, item)),
            syn::UseTree::Name(name) if name.ident == "self" => drop(self.paths.insert(prefix.to_owned())),
            syn::UseTree::Name(name) => drop(self.paths.insert(join(&name.ident))),
            syn::UseTree::Rename(rename) => drop(self.paths.insert(join(&rename.ident))),
            syn::UseTree::Glob(_) => drop(self.paths.insert(format!("{prefix}::*"))),
        }
    }

    /// Adds every word with `::` in the text of a macro, because macros are not parsed.
    fn add_macro_text(&mut self, tokens: &str) {
        let joined = tokens.replace(" :: ", "::");
        let words = joined.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        self.paths
            .extend(words.filter(|word| word.contains("::")).map(str::to_owned));
    }
}

impl<'ast> Visit<'ast> for NamedPaths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if self.with_tests || !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use_tree("", &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.paths.insert(names.join("::"));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_macro_text(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }
}

pub(crate) fn is_test(item: &syn::Item) -> bool {
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
