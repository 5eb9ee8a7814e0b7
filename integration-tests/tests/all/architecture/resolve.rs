//! Finds the file, or the table, for which a path in a source stands.
use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::is_test;

pub(super) type Module = Vec<String>;

/// The paths that one file names, as they are resolved from the module in which they stand.
pub(super) struct Paths {
    module: Module,
    pub(super) used: Vec<(Module, Module)>,
    /// The path for which a name in a module stands because of a `use`.
    aliases: BTreeMap<(Module, String), (Module, Module)>,
    /// The modules of which a module uses all names.
    globs: Vec<(Module, Module)>,
    /// The modules of entities that the file declares by `table!`, with the names of the tables.
    pub(super) tables: Vec<(Module, String)>,
}

impl Paths {
    fn of(module: &Module, source: &str) -> Self {
        let mut paths = Self {
            module: module.clone(),
            used: Vec::new(),
            aliases: BTreeMap::new(),
            globs: Vec::new(),
            tables: Vec::new(),
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
            syn::UseTree::Glob(_) => {
                self.globs.push((self.module.clone(), before.clone()));
                (None, before.clone())
            }
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

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if !item.mac.path.is_ident("table") {
            return;
        }
        // A visibility may stand before the name of the module.
        let text = item.mac.tokens.to_string();
        let module = text
            .split(',')
            .next()
            .and_then(|head| head.split_whitespace().last());
        if let (Some(module), Some(table)) = (module, text.split('"').nth(1)) {
            let module = [self.module.as_slice(), &[module.to_owned()]].concat();
            self.tables.push((module, table.to_owned()));
        }
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

/// The sources of a crate.
pub(super) struct Crate {
    /// The files by their modules. A table is a file of its own.
    files: BTreeMap<Module, String>,
    aliases: BTreeMap<(Module, String), (Module, Module)>,
    globs: Vec<(Module, Module)>,
}

/// Returns the module of a file below `src`.
fn module_of(file: &str) -> Module {
    let parts = file.trim_end_matches(".rs").split('/').map(str::to_owned);
    let mut parts: Module = parts.collect();
    if ["mod", "lib", "main"].contains(&parts.last().map_or("", String::as_str)) {
        parts.pop();
    }
    parts
}

impl Crate {
    /// Reads the files below `src`, and returns the paths that each one names.
    pub(super) fn read(files: &[(String, String)]) -> (Self, Vec<(&String, Paths)>) {
        let paths: Vec<_> = files
            .iter()
            .map(|(file, source)| (file, Paths::of(&module_of(file), source)))
            .collect();
        let all = paths.iter().map(|(_, paths)| paths);
        let whole = Self {
            files: files
                .iter()
                .map(|(file, _)| (module_of(file), file.clone()))
                .collect(),
            aliases: all.clone().flat_map(|paths| paths.aliases.clone()).collect(),
            globs: all.flat_map(|paths| paths.globs.clone()).collect(),
        };
        (whole, paths)
    }

    /// Makes a file of the module of each table, with the name of the table.
    pub(super) fn add_tables<'a>(&mut self, tables: impl Iterator<Item = &'a (Module, String)>) {
        self.files.extend(tables.cloned());
    }

    /// Returns the file in which a path that is written in `module` ends, and the names after it; `None`
    /// outside the crate.
    pub(super) fn resolve(&self, module: &Module, path: &[String]) -> Option<(&String, Module)> {
        self.resolve_within(module, path, 0)
    }

    fn resolve_within(&self, module: &Module, path: &[String], depth: usize) -> Option<(&String, Module)> {
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
                if self.files.contains_key(&child) {
                    (child, rest)
                } else {
                    return self.resolve_name(module, name, rest, depth);
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
            && let Some(found) = self.resolve_name(&at, name, after, depth)
        {
            return Some(found);
        }
        // An inline module belongs to the file around it.
        let (length, file) = (0..=at.len())
            .rev()
            .find_map(|length| Some((length, self.files.get(&at[..length])?)))?;
        Some((file, [&at[length..], rest].concat()))
    }

    /// Resolves a name that a `use` brings into a module, with the names after it.
    fn resolve_name(
        &self,
        module: &Module,
        name: &str,
        after: &[String],
        depth: usize,
    ) -> Option<(&String, Module)> {
        if let Some((of, target)) = self.aliases.get(&(module.clone(), name.to_owned())) {
            // `use name;` names another crate.
            let is_itself = of == module && target[..] == [name.to_owned()];
            let path = [target.as_slice(), after].concat();
            return (!is_itself).then(|| self.resolve_within(of, &path, depth + 1))?;
        }
        let globs = self.globs.iter().filter(|(of, _)| of == module);
        globs
            .filter(|(of, target)| {
                // Only names that the other module declares or uses, because every path ends in some file.
                let origin = self.module_at(of, target);
                origin.is_some_and(|origin| {
                    let key = (origin, name.to_owned());
                    let child = [key.0.as_slice(), &[name.to_owned()]].concat();
                    self.aliases.contains_key(&key) || self.files.contains_key(&child)
                })
            })
            .find_map(|(of, target)| {
                let path = [target.as_slice(), &[name.to_owned()], after].concat();
                self.resolve_within(of, &path, depth + 1)
            })
    }

    /// Returns the module for which a path without a `use` stands.
    fn module_at(&self, of: &Module, target: &[String]) -> Option<Module> {
        let mut at = match target.first().map(String::as_str) {
            Some("crate") => Module::new(),
            Some("super") => of[..of.len().checked_sub(1)?].to_vec(),
            Some("self") => of.clone(),
            Some(name) => [of.as_slice(), &[name.to_owned()]].concat(),
            None => return None,
        };
        for name in &target[1..] {
            if name == "super" {
                at.pop()?;
            } else {
                at.push(name.clone());
            }
        }
        self.files.contains_key(&at).then_some(at)
    }
}
