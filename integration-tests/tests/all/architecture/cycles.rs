//! Files of one library that use each other, directly or through others. Such files can only be understood
//! together, so each set of them stands in a list, with a reason.
use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use super::{is_test, sources};

/// Sets of files that use each other: the crate, the files below `src`, and the reason.
const CYCLES: &[(&str, &[&str], &str)] = &[
    (
        "database",
        &["connection_cache.rs", "pooled_connection.rs"],
        "a connection in use returns itself to the cache that has issued it",
    ),
    (
        "grpc",
        &[
            "body.rs",
            "context.rs",
            "layer.rs",
            "rpc.rs",
            "server/catch_panic.rs",
            "server/metrics.rs",
        ],
        "one body does the work of all layers, so that each of 10,000 streams has a single wrapper",
    ),
];

type Module = Vec<String>;

/// The paths that one file names, as they are resolved from the module in which they stand.
struct Paths {
    module: Module,
    used: Vec<(Module, Module)>,
    /// The path for which a name in a module stands because of a `use`.
    aliases: BTreeMap<(Module, String), (Module, Module)>,
}

impl Paths {
    fn of(module: &Module, source: &str) -> Self {
        let mut paths = Self {
            module: module.clone(),
            used: Vec::new(),
            aliases: BTreeMap::new(),
        };
        paths.visit_file(&syn::parse_file(source).expect("a Rust source"));
        paths
    }

    fn tree(&mut self, before: &Module, tree: &syn::UseTree, public: bool) {
        let with = |name: &syn::Ident| [before.as_slice(), &[name.to_string()]].concat();
        let (name, path) = match tree {
            syn::UseTree::Path(path) => return self.tree(&with(&path.ident), &path.tree, public),
            syn::UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|item| self.tree(before, item, public));
            }
            syn::UseTree::Name(name) if name.ident == "self" => (before.last().cloned(), before.clone()),
            syn::UseTree::Name(name) => (Some(name.ident.to_string()), with(&name.ident)),
            syn::UseTree::Rename(rename) => (Some(rename.rename.to_string()), with(&rename.ident)),
            syn::UseTree::Glob(_) => (None, before.clone()),
        };
        if let Some(name) = name {
            let key = (self.module.clone(), name);
            self.aliases.insert(key, (self.module.clone(), path.clone()));
        }
        // A re-export makes a name known and uses nothing.
        if !public {
            self.used.push((self.module.clone(), path));
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        self.tree(&Module::new(), &item.tree, public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Module = path.segments.iter().map(|s| s.ident.to_string()).collect();
        // A single word in lower case is a variable or a function of the file.
        if names.len() > 1 || names[0].starts_with(char::is_uppercase) {
            self.used.push((self.module.clone(), names));
        }
        visit::visit_path(self, path);
    }
}

struct Crate {
    files: BTreeMap<Module, String>,
    aliases: BTreeMap<(Module, String), (Module, Module)>,
}

impl Crate {
    /// Returns the file in which a path that is written in `module` ends; `None` outside the crate.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<&String> {
        let (first, rest) = path.split_first()?;
        if depth > 10 {
            return None;
        }
        let (mut at, mut rest) = match first.as_str() {
            "crate" => (Module::new(), rest),
            "self" => (module.clone(), rest),
            "super" => (module[..module.len().checked_sub(1)?].to_vec(), rest),
            name => {
                let child = [module.as_slice(), &[name.to_owned()]].concat();
                let alias = self.aliases.get(&(module.clone(), name.to_owned()));
                if self.files.contains_key(&child) {
                    (child, rest)
                } else if let Some((of, target)) = alias.filter(|(_, target)| target[..] != path[..]) {
                    return self.resolve(of, &[target.as_slice(), rest].concat(), depth + 1);
                } else {
                    return None;
                }
            }
        };
        while let Some((name, after)) = rest.split_first() {
            if name == "super" {
                at.pop()?;
            } else {
                let child = [at.as_slice(), std::slice::from_ref(name)].concat();
                if !self.files.contains_key(&child) {
                    break;
                }
                at = child;
            }
            rest = after;
        }
        if let Some((name, after)) = rest.split_first()
            && let Some((of, target)) = self.aliases.get(&(at.clone(), name.clone()))
        {
            let target = [target.as_slice(), after].concat();
            if let Some(file) = self.resolve(of, &target, depth + 1) {
                return Some(file);
            }
        }
        // An inline module belongs to the file around it.
        (0..=at.len())
            .rev()
            .find_map(|length| self.files.get(&at[..length]))
    }
}

/// Returns the sets of files that use each other, of one crate given by its files below `src`.
fn cycles(files: &[(String, String)]) -> Vec<BTreeSet<String>> {
    let module = |file: &str| -> Module {
        let parts = file.trim_end_matches(".rs").split('/').map(str::to_owned);
        let mut parts: Module = parts.collect();
        if ["mod", "lib", "main"].contains(&parts.last().map_or("", String::as_str)) {
            parts.pop();
        }
        parts
    };
    let paths: Vec<_> = files
        .iter()
        .map(|(file, source)| (file, Paths::of(&module(file), source)))
        .collect();
    let whole = Crate {
        files: files
            .iter()
            .map(|(file, _)| (module(file), file.clone()))
            .collect(),
        aliases: paths
            .iter()
            .flat_map(|(_, paths)| paths.aliases.clone())
            .collect(),
    };
    let mut reached: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (file, paths) in &paths {
        let targets = paths
            .used
            .iter()
            .filter_map(|(module, path)| whole.resolve(module, path, 0));
        reached
            .entry(file)
            .or_default()
            .extend(targets.filter(|target| target != file));
    }
    // The transitive closure; a crate has few files.
    loop {
        let before: usize = reached.values().map(BTreeSet::len).sum();
        for (file, _) in files {
            let further: Vec<&String> = reached[file]
                .iter()
                .flat_map(|next| &reached[*next])
                .copied()
                .collect();
            reached.entry(file).or_default().extend(further);
        }
        if before == reached.values().map(BTreeSet::len).sum::<usize>() {
            break;
        }
    }
    let mut found = Vec::new();
    for (file, targets) in &reached {
        let set: BTreeSet<String> = targets
            .iter()
            .filter(|target| reached[**target].contains(file))
            .map(|target| (*target).clone())
            .collect();
        if set.len() > 1 && !found.contains(&set) {
            found.push(set);
        }
    }
    found
}

#[test]
fn files_of_a_library_have_no_unlisted_cycle() {
    let mut crates: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (path, source) in sources(false) {
        let mut parts = path.splitn(4, '/');
        if let (Some("libs"), Some(owner), Some("src"), Some(file)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        {
            crates
                .entry(owner.to_owned())
                .or_default()
                .push((file.to_owned(), source));
        }
    }
    let found: Vec<(String, BTreeSet<String>)> = crates
        .iter()
        .flat_map(|(owner, files)| cycles(files).into_iter().map(|set| (owner.clone(), set)))
        .collect();
    let listed: Vec<(String, BTreeSet<String>)> = CYCLES
        .iter()
        .map(|(owner, files, _)| {
            (
                (*owner).to_owned(),
                files.iter().map(|file| (*file).to_owned()).collect(),
            )
        })
        .collect();
    let new: Vec<_> = found.iter().filter(|cycle| !listed.contains(cycle)).collect();
    let gone: Vec<_> = listed.iter().filter(|cycle| !found.contains(cycle)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "not in the list: {new:#?}\nno longer there: {gone:#?}"
    );
}

#[test]
fn cycles_are_found_through_re_exports_and_folders() {
    let of = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(file, source)| ((*file).to_owned(), (*source).to_owned()));
        cycles(&files.collect::<Vec<_>>())
    };
    let set = |files: &[&str]| {
        files
            .iter()
            .map(|file| (*file).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let root = ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;");
    let both = [
        root,
        ("a.rs", "use crate::B; pub struct A(B);"),
        ("b.rs", "pub struct B; fn f() -> crate::a::A { todo() }"),
    ];
    assert_eq!(of(&both), [set(&["a.rs", "b.rs"])]);
    let one_way = [
        root,
        ("a.rs", "use crate::B; pub struct A(B);"),
        ("b.rs", "pub struct B; #[cfg(test)] mod t { use crate::A; }"),
    ];
    assert_eq!(of(&one_way), Vec::<BTreeSet<String>>::new());
    let folder = [
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod c; pub struct A; fn f() { c::g() }"),
        ("a/c.rs", "use super::A; pub fn g() {}"),
    ];
    assert_eq!(of(&folder), [set(&["a/c.rs", "a/mod.rs"])]);
}
