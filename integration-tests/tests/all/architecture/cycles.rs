//! Files of one library that use each other, directly or through others. Such files can only be understood
//! together, so there are none.
use std::collections::{BTreeMap, BTreeSet};

use super::{resolve::Crate, sources};

/// Returns the sets of files that use each other, of one crate given by its files below `src`.
fn cycles(files: &[(String, String)]) -> Vec<BTreeSet<String>> {
    let (whole, paths) = Crate::read(files);
    let mut reached: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (file, paths) in &paths {
        let targets = paths
            .used
            .iter()
            .filter_map(|(module, path)| whole.resolve(module, path))
            .map(|(target, _)| target);
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
fn files_of_a_library_have_no_cycle() {
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
    assert!(found.is_empty(), "files that use each other: {found:#?}");
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
